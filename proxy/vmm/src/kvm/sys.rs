//! The calls to KVM that the compiler cannot vouch for.
#![expect(unsafe_code, reason = "KVM is told which host memory is guest RAM")]

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{GuestAddress, GuestMemoryBackend, MmapRegion};

use super::failed;
use crate::error::VmmError;
use crate::ram::Ram;

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
    unsafe { vm.set_user_memory_region(region) }.map_err(failed("mapping guest RAM"))
}

/// Makes all of `memory` the guest's from `address` on, as memory slot `slot`, or, without an address, nothing. The caller keeps
/// `memory` for as long as a descriptor of the machine or of one of its vCPUs is open.
pub(super) fn set_slot(
    vm: &VmFd,
    slot: u32,
    memory: &MmapRegion,
    address: Option<u64>,
) -> Result<(), kvm_ioctls::Error> {
    let too_large = |_| kvm_ioctls::Error::new(libc::EINVAL);
    let bytes = u64::try_from(memory.size()).map_err(too_large)?;
    let region = kvm_userspace_memory_region {
        slot,
        flags: 0,
        guest_phys_addr: address.unwrap_or(0),
        memory_size: if address.is_some() { bytes } else { 0 },
        userspace_addr: u64::try_from(memory.as_ptr().addr()).map_err(too_large)?,
    };
    // SAFETY: the range is the whole of a mapping that `memory` owns, which the caller keeps until KVM can no longer reach it. Rust
    // code does not refer into it: other processes write it too.
    unsafe { vm.set_user_memory_region(region) }
}
