//! Step 1, guest exit: a virtual machine under KVM, for the reference VMM.
//!
//! RAM from address 0 on, the in-kernel interrupt controllers with the device's INTx as an irqfd with resample, and
//! vCPUs that start in 32-bit flat protected mode.

mod signal;
mod slots;
mod sys;
mod unavailable;
mod vcpu;
mod wiring;

use std::sync::{Arc, Mutex};

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES};
use kvm_ioctls::{Kvm, VmFd};

use crate::error::VmmError;
use crate::ram::Ram;
use outrigger_proxy::Intx;

pub(crate) use signal::{install_kick, kick};
pub(crate) use slots::Slots;
pub use unavailable::{KvmUnavailable, kvm_unavailable};
pub(crate) use vcpu::{End, Vcpu};
use wiring::{Register, Wiring};

/// Where KVM may put its task state segment and identity map: below the firmware area, outside of RAM and BARs.
const TSS: usize = 0xfffb_d000;
const IDENTITY_MAP: u64 = 0xfffb_c000;

/// A virtual machine. Its interrupt works as long as it lives, so each vCPU keeps it.
#[derive(Debug)]
pub(crate) struct Vm {
    // Before the descriptor: it has a copy.
    wiring: Wiring,
    fd: Arc<VmFd>,
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
    /// A machine with this RAM, whose interrupt `line` goes up when `intx` is triggered and goes down at the end
    /// of interrupt, of which `intx` hears. Where KVM does not do that, this process does.
    pub(crate) fn new(ram: &Ram, line: u8, intx: &Intx) -> Result<Self, VmmError> {
        Self::wired(ram, line, intx, wiring::irqfd)
    }

    fn wired(ram: &Ram, line: u8, intx: &Intx, register: Register) -> Result<Self, VmmError> {
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
        let fd = Arc::new(fd);
        let wiring = Wiring::new(&fd, intx, line.into(), register)
            .map_err(|error| VmmError::Host(error.to_string()))?;
        Ok(Self {
            wiring,
            fd,
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

#[cfg(test)]
mod tests;
