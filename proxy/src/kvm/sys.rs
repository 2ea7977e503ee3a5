//! The one call to KVM that the compiler cannot vouch for.
#![expect(unsafe_code, reason = "KVM is told which host memory is guest RAM")]

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{GuestAddress, GuestMemoryBackend};

use crate::vmm::{Ram, VmmError};

/// Makes `ram` the guest's memory from address 0 on. The caller keeps a clone of `ram` for as long as a descriptor of
/// the machine or of one of its vCPUs is open.
pub(super) fn map_ram(vm: &VmFd, ram: &Ram) -> Result<(), VmmError> {
    let start = ram
        .memory()
        .get_host_address(GuestAddress(0))
        .map_err(|_| VmmError::OutsideRam(0))?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: ram.bytes(),
        userspace_addr: u64::try_from(start.addr())
            .map_err(|error| VmmError::Ram(error.to_string()))?,
    };
    // SAFETY: the range is the whole of a mapping that `ram` owns: `Ram` is one region of `bytes` bytes from address 0
    // on. It stays mapped as long as a clone of `ram` lives, and `Vm` owns one that is dropped after
    // its descriptor; each `Vcpu` owns a reference to `Vm` that is dropped after its own. So the guest never runs without it. Rust code reaches the bytes only through vm-memory's
    // volatile and atomic accesses, which expect that another side writes them.
    unsafe { vm.set_user_memory_region(region) }.map_err(|error| VmmError::Kvm {
        what: "mapping guest RAM",
        reason: error.to_string(),
    })
}
