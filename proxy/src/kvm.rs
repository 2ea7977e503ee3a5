//! Step 1, guest exit: a virtual machine under KVM, for the reference VMM.
//!
//! RAM from address 0 on, the in-kernel interrupt controllers with the device's INTx as an irqfd with resample, and
//! vCPUs that start in 32-bit flat protected mode.

mod signal;
mod slots;
mod sys;
mod vcpu;

use std::sync::{Arc, Mutex};

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Kvm, VmFd};
use vmm_sys_util::eventfd::EventFd;

use crate::vmm::{Ram, VmmError};

pub(crate) use signal::{install_kick, kick};
pub(crate) use slots::Slots;
pub(crate) use vcpu::{End, Vcpu};

/// Where KVM may put its task state segment and identity map: below the firmware area, outside of RAM and BARs.
const TSS: usize = 0xfffb_d000;
const IDENTITY_MAP: u64 = 0xfffb_c000;

/// Whether this process can use KVM.
pub(crate) fn available() -> bool {
    Kvm::new().is_ok()
}

/// A virtual machine. Its irqfd works as long as it lives, so each vCPU keeps it.
#[derive(Debug)]
pub(crate) struct Vm {
    fd: VmFd,
    trigger: EventFd,
    line: u32,
    cpuid: CpuId,
    // Declared after the descriptor: the mappings go last.
    slots: Mutex<Vec<slots::Slot>>,
    _ram: Ram,
}

fn failed(what: &'static str) -> impl Fn(kvm_ioctls::Error) -> VmmError {
    move |error| VmmError::Kvm {
        what,
        reason: error.to_string(),
    }
}

/// Calls KVM again where a signal came in between: a signal of this process, or work that io_uring has for this thread.
fn uninterrupted<T>(
    mut call: impl FnMut() -> Result<T, kvm_ioctls::Error>,
) -> Result<T, kvm_ioctls::Error> {
    loop {
        match call() {
            Err(error) if error.errno() == libc::EINTR => {}
            result => return result,
        }
    }
}

impl Vm {
    /// A machine with this RAM, whose interrupt `line` goes up when `trigger` is signalled and goes down at the end
    /// of interrupt, which signals `resample`.
    pub(crate) fn new(
        ram: &Ram,
        line: u8,
        trigger: &EventFd,
        resample: &EventFd,
    ) -> Result<Self, VmmError> {
        let kvm = Kvm::new().map_err(failed("opening /dev/kvm"))?;
        let fd =
            uninterrupted(|| kvm.create_vm()).map_err(failed("creating the virtual machine"))?;
        uninterrupted(|| fd.set_identity_map_address(IDENTITY_MAP))
            .map_err(failed("placing the identity map"))?;
        uninterrupted(|| fd.set_tss_address(TSS))
            .map_err(failed("placing the task state segment"))?;
        uninterrupted(|| fd.create_irq_chip())
            .map_err(failed("creating the interrupt controllers"))?;
        sys::map_ram(&fd, ram)?;
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(failed("reading CPUID"))?;
        let line = u32::from(line);
        let kept = trigger
            .try_clone()
            .map_err(|error| VmmError::Host(error.to_string()))?;
        fd.register_irqfd_with_resample(trigger, resample, line)
            .map_err(failed("registering the irqfd"))?;
        Ok(Self {
            fd,
            trigger: kept,
            line,
            cpuid,
            slots: Mutex::default(),
            _ram: ram.clone(),
        })
    }

    /// What maps a device's memories into this machine, as long as it is there.
    pub(crate) fn slots(self: &Arc<Self>) -> Slots {
        Slots::new(Arc::downgrade(self))
    }

    /// vCPU `id`, which starts at `entry` with its number in EAX and its stack below `stack`.
    pub(crate) fn vcpu(
        self: &Arc<Self>,
        id: usize,
        entry: u32,
        stack: u32,
    ) -> Result<Vcpu, VmmError> {
        Vcpu::new(Arc::clone(self), id, entry, stack)
    }
}

impl Drop for Vm {
    /// The irqfd goes at once, also where a child that has just been forked still has the machine's descriptor: an
    /// eventfd can be the interrupt of one machine at a time.
    fn drop(&mut self) {
        // A machine that is going has no use for the error.
        let _ = self.fd.unregister_irqfd(&self.trigger, self.line);
    }
}

#[cfg(test)]
mod tests;
