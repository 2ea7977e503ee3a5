//! Step 11, interrupt: how INTx gets into the virtual machine.

use std::io;
use std::sync::{Arc, Once};

use kvm_ioctls::VmFd;

use outrigger_proxy::{Intx, LineThread};

/// What registers an irqfd with its resample descriptor, for this line.
pub(super) type Register = fn(&VmFd, &Intx, u32) -> Result<(), kvm_ioctls::Error>;

/// KVM's own way.
pub(super) fn irqfd(vm: &VmFd, intx: &Intx, line: u32) -> Result<(), kvm_ioctls::Error> {
    vm.register_irqfd_with_resample(intx.trigger(), intx.resample(), line)
}

/// The way of one machine.
#[derive(Debug)]
pub(super) enum Wiring {
    /// An irqfd: interrupts and their ends do not enter this process.
    Irqfd {
        vm: Arc<VmFd>,
        intx: Intx,
        line: u32,
    },
    /// KVM has refused that. Nobody here sees the guest's end of interrupt, so the next access to the device counts as one: a
    /// handler's first read.
    ByHand(LineThread),
}

impl Wiring {
    pub(super) fn new(
        vm: &Arc<VmFd>,
        intx: &Intx,
        line: u32,
        register: Register,
    ) -> io::Result<Self> {
        let (vm, intx) = (Arc::clone(vm), intx.try_clone()?);
        match register(&vm, &intx, line) {
            Ok(()) => Ok(Self::Irqfd { vm, intx, line }),
            Err(error) => {
                static SAID: Once = Once::new();
                SAID.call_once(|| {
                    tracing::warn!(%error, "KVM takes no irqfd: interrupts go through the VMM");
                });
                let set = move |up| {
                    if let Err(error) = vm.set_irq_line(line, up) {
                        tracing::debug!(%error, "the interrupt line cannot be set");
                    }
                };
                LineThread::start(&intx, set).map(Self::ByHand)
            }
        }
    }

    /// A vCPU has accessed the device.
    pub(super) fn accessed(&self) {
        if let Self::ByHand(by_hand) = self {
            by_hand.end_of_interrupt();
        }
    }
}

impl Drop for Wiring {
    /// The irqfd goes at once, also where a child that has just been forked still has the machine's descriptor: an
    /// eventfd can be the interrupt of one machine at a time.
    fn drop(&mut self) {
        if let Self::Irqfd { vm, intx, line } = self {
            // A machine that is going has no use for the error.
            let _ = vm.unregister_irqfd(intx.trigger(), *line);
        }
    }
}
