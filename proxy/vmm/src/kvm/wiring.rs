//! Step 11, interrupt: how INTx gets into the virtual machine.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::thread::{Builder, JoinHandle};

use kvm_ioctls::VmFd;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use outrigger_proxy::Intx;

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
    /// KVM has refused that.
    ByHand(ByHand),
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
                ByHand::start(vm, intx, line).map(Self::ByHand)
            }
        }
    }

    /// A vCPU has accessed the device.
    pub(super) fn accessed(&self) {
        if let Self::ByHand(by_hand) = self {
            by_hand.line.lower();
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

/// A thread raises the line when the trigger comes. Nobody here sees the guest's end of interrupt, so the next access to the device
/// counts as one: a handler's first read. If the device's line is still up, it triggers again.
#[derive(Debug)]
pub(super) struct ByHand {
    line: Arc<Line>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Line {
    vm: Arc<VmFd>,
    intx: Intx,
    line: u32,
    up: Mutex<bool>,
}

impl ByHand {
    fn start(vm: Arc<VmFd>, intx: Intx, line: u32) -> io::Result<Self> {
        let line = Arc::new(Line {
            vm,
            intx,
            line,
            up: Mutex::new(false),
        });
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (raised, stopped) = (Arc::clone(&line), stop.try_clone()?);
        let thread = Builder::new()
            .name("outrigger-intx".into())
            .spawn(move || raised.watch(&stopped))?;
        Ok(Self {
            line,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        // The counter is far from full, as this is its only write.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // It does not panic; and if it had, it would have ended all the same.
            let _ = thread.join();
        }
    }
}

impl Line {
    /// Until `stop` is signalled.
    fn watch(&self, stop: &OwnedFd) {
        loop {
            let trigger = self.intx.trigger_fd();
            let mut fds = [
                PollFd::new(stop, PollFlags::IN),
                PollFd::new(&trigger, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) if fds[0].revents().is_empty() => {
                    if self.intx.take_trigger() {
                        self.set(true);
                    }
                }
                _ => return,
            }
        }
    }

    fn lower(&self) {
        if self.set(false) {
            // Full would be signalled too.
            let _ = self.intx.end_of_interrupt();
        }
    }

    /// Raises or lowers the line; whether it was up.
    fn set(&self, up: bool) -> bool {
        let mut now = self.up.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *now, up);
        if before != up
            && let Err(error) = self.vm.set_irq_line(self.line, up)
        {
            tracing::debug!(%error, "the interrupt line cannot be set");
        }
        before
    }
}
