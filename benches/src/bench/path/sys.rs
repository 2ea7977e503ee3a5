//! The one call to KVM that the compiler cannot vouch for.
#![expect(unsafe_code, reason = "KVM is told which host memory is guest RAM")]

use anyhow::Result;
use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use outrigger_vmm::Ram;

/// Makes `ram` the guest's memory from address 0 on. The caller keeps a clone of `ram` for as long as a descriptor of
/// the machine or of its vCPU is open.
pub(super) fn map_ram(vm: &VmFd, ram: &Ram) -> Result<()> {
    use vm_memory::{GuestAddress, GuestMemoryBackend as _};
    let start = ram.memory().get_host_address(GuestAddress(0))?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: ram.bytes(),
        userspace_addr: u64::try_from(start.addr())?,
    };
    // SAFETY: the range is the whole of a mapping that `ram` owns, one region of that many bytes from address 0 on, and the
    // caller keeps it mapped while the machine is there. Rust code reaches its bytes through vm-memory's volatile
    // accesses only, which expect another writer.
    unsafe { vm.set_user_memory_region(region) }?;
    Ok(())
}
