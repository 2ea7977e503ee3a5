//! The virtual machine, and its memory slots: what a VMM has anyway.
#![expect(unsafe_code, reason = "KVM is told which host memory is the guest's")]

use std::error::Error;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use outrigger_proxy::{BarMemory, MapMemory};
use vm_memory::{
    FileOffset, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, MmapRegion,
};

/// A machine, and all memory that its guest may reach: that goes after the machine.
pub(crate) struct Machine(Arc<Inner>);

struct Inner {
    vm: VmFd,
    /// The device's memories, in the order of their slots.
    mapped: Mutex<Vec<(Arc<File>, MmapRegion)>>,
    _memory: GuestMemoryMmap,
}

impl Machine {
    /// A machine whose RAM is the one region of `memory`.
    pub(crate) fn new(kvm: &Kvm, memory: &GuestMemoryMmap) -> Result<Self, Box<dyn Error>> {
        let vm = kvm.create_vm()?;
        vm.create_irq_chip()?;
        let ram = memory.iter().next().ok_or("no RAM")?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: ram.start_addr().0,
            memory_size: ram.len(),
            userspace_addr: u64::try_from(memory.get_host_address(GuestAddress(0))?.addr())?,
        };
        // SAFETY: the region is a mapping of exactly that size, which `_memory` keeps until after the machine's descriptor is
        // closed. Nothing here refers to it but through vm-memory's volatile accesses.
        unsafe { vm.set_user_memory_region(region) }?;
        Ok(Self(Arc::new(Inner {
            vm,
            mapped: Mutex::default(),
            _memory: memory.clone(),
        })))
    }

    /// KVM's descriptor.
    pub(crate) fn vm(&self) -> &VmFd {
        &self.0.vm
    }

    /// A vCPU that begins at `entry` in real mode. It ends before the machine does.
    pub(crate) fn vcpu(&self, entry: u64) -> Result<VcpuFd, Box<dyn Error>> {
        let vcpu = self.0.vm.create_vcpu(0)?;
        let mut sregs = vcpu.get_sregs()?;
        (sregs.cs.base, sregs.cs.selector) = (0, 0);
        vcpu.set_sregs(&sregs)?;
        let mut regs = vcpu.get_regs()?;
        (regs.rip, regs.rflags) = (entry, 2);
        vcpu.set_regs(&regs)?;
        Ok(vcpu)
    }

    /// What maps a device's memory into this machine.
    pub(crate) fn slots(&self) -> Slots {
        Slots(Arc::clone(&self.0))
    }
}

/// Slot 0 is RAM, the others are for the device's memories.
pub(crate) struct Slots(Arc<Inner>);

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slots")
    }
}

impl Slots {
    fn set(&self, memory: &BarMemory, address: Option<u64>) -> io::Result<()> {
        let mut mapped = self.0.mapped.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |(file, _): &(Arc<File>, _)| Arc::ptr_eq(file, memory.file());
        if !mapped.iter().any(known) {
            let size = usize::try_from(memory.size()).map_err(io::Error::other)?;
            let file = FileOffset::from_arc(Arc::clone(memory.file()), 0);
            let region = MmapRegion::from_file(file, size).map_err(io::Error::other)?;
            mapped.push((Arc::clone(memory.file()), region));
        }
        for (slot, (_, region)) in (1..).zip(mapped.iter()).filter(|(_, entry)| known(entry)) {
            let region = kvm_userspace_memory_region {
                slot,
                flags: 0,
                guest_phys_addr: address.unwrap_or(0),
                // No size: no slot.
                memory_size: address.map_or(0, |_| memory.size()),
                userspace_addr: u64::try_from(region.as_ptr().addr()).map_err(io::Error::other)?,
            };
            // SAFETY: `mapped` keeps the mapping until after the machine's descriptor is closed, and the size is that of the
            // mapping. Nothing here refers to its bytes, which the emulator writes too.
            unsafe { self.0.vm.set_user_memory_region(region) }
                .map_err(|error| io::Error::from_raw_os_error(error.errno()))?;
        }
        Ok(())
    }
}

impl MapMemory for Slots {
    fn map(&mut self, memory: &BarMemory, address: u64) -> io::Result<()> {
        self.set(memory, Some(address))
    }

    fn unmap(&mut self, memory: &BarMemory) -> io::Result<()> {
        self.set(memory, None)
    }
}
