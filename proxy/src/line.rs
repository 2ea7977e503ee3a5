//! Step 11, interrupt: how the VMM hears of INTx.

use std::fmt;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::control::{self, IntxAction};
use crate::error::{Error, Step};
use crate::interrupt::Intx;
use crate::link::socket::Connection;

/// What is called with the line's new level: `true` when it rises.
type Call = Box<dyn FnMut(bool) + Send>;

/// How the VMM is told of the device's INTx line, in [`Proxy::set_line`](crate::Proxy::set_line).
#[non_exhaustive]
pub enum Line<'a> {
    /// Two eventfds of the VMM's. The device signals `trigger` when the line rises. Whoever owns
    /// the guest's interrupt controller signals `resample` when the guest has acknowledged the
    /// interrupt; the device triggers again if the line is still up. With KVM, both belong to one
    /// irqfd.
    Resampled {
        /// Signalled by the device.
        trigger: BorrowedFd<'a>,
        /// Signalled by the VMM or by KVM.
        resample: BorrowedFd<'a>,
    },
    /// One eventfd of the VMM's, for an interrupt controller that tells nobody of the guest's
    /// acknowledgement. The VMM calls [`Proxy::end_of_interrupt`](crate::Proxy::end_of_interrupt)
    /// instead.
    Triggered(BorrowedFd<'a>),
    /// A closure. It is called with `true` on a thread of the proxy's when the line rises, and with
    /// `false` by [`Proxy::end_of_interrupt`](crate::Proxy::end_of_interrupt), on the caller's
    /// thread. The calls take turns; the closure must not call the proxy's interrupt methods.
    Call(Box<dyn FnMut(bool) + Send>),
}

impl fmt::Debug for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resampled { .. } => "Line::Resampled",
            Self::Triggered(_) => "Line::Triggered",
            Self::Call(_) => "Line::Call",
        })
    }
}

/// What [`Proxy::end_of_interrupt`](crate::Proxy::end_of_interrupt) has to do.
#[derive(Debug, Default)]
pub(crate) enum Acknowledge {
    /// Nothing: the VMM has the resample eventfd, or the interrupt is off.
    #[default]
    ByVmm,
    /// Signal this line's resample eventfd.
    Signal(Intx),
    /// Lower the line, too.
    Lower(LineThread),
}

impl Acknowledge {
    pub(crate) fn acknowledge(&self) -> io::Result<()> {
        match self {
            Self::ByVmm => Ok(()),
            Self::Signal(intx) => intx.end_of_interrupt(),
            Self::Lower(thread) => {
                thread.end_of_interrupt();
                Ok(())
            }
        }
    }
}

/// Hands the line's eventfds to the device; what is left to do at the end of an interrupt.
pub(crate) fn wire(connection: &Connection, line: Line<'_>) -> Result<Acknowledge, Error> {
    const STEP: &str = "preparing the interrupt";
    match line {
        Line::Resampled { trigger, resample } => {
            hand_over(connection, trigger, resample)?;
            Ok(Acknowledge::ByVmm)
        }
        Line::Triggered(trigger) => {
            let intx = Intx::new().step(STEP)?;
            hand_over(connection, trigger, intx.resample_fd())?;
            Ok(Acknowledge::Signal(intx))
        }
        Line::Call(call) => {
            let intx = Intx::new().step(STEP)?;
            let thread = LineThread::start(&intx, call).step(STEP)?;
            hand_over(connection, intx.trigger_fd(), intx.resample_fd())?;
            Ok(Acknowledge::Lower(thread))
        }
    }
}

fn hand_over(
    connection: &Connection,
    trigger: BorrowedFd<'_>,
    resample: BorrowedFd<'_>,
) -> Result<(), Error> {
    // In this order: from the first trigger on there is a way to unmask.
    control::set_intx(connection, IntxAction::Unmask(resample))?;
    control::set_intx(connection, IntxAction::Trigger(trigger))
}

/// Calls a closure with the level of an [`Intx`], for an interrupt controller that takes a level
/// and no eventfd. A thread waits for the trigger. Dropping it ends the thread.
#[derive(Debug)]
pub struct LineThread {
    level: Arc<Level>,
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
}

struct Level {
    intx: Intx,
    /// Whether the line is up, and what hears of it.
    state: Mutex<(bool, Call)>,
}

impl LineThread {
    /// Starts the thread. `call` hears `true` on it when the line rises, and `false` in
    /// [`LineThread::end_of_interrupt`].
    ///
    /// # Errors
    /// The process is out of descriptors or threads.
    pub fn start(intx: &Intx, call: impl FnMut(bool) + Send + 'static) -> io::Result<Self> {
        let level = Arc::new(Level {
            intx: intx.try_clone()?,
            state: Mutex::new((false, Box::new(call))),
        });
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let (watched, stopped) = (Arc::clone(&level), stop.try_clone()?);
        let thread = Builder::new()
            .name("outrigger-intx".into())
            .spawn(move || watched.watch(&stopped))?;
        Ok(Self {
            level,
            stop,
            thread: Some(thread),
        })
    }

    /// The guest has acknowledged the interrupt: the line goes down, and rises again if the device
    /// still holds it. A line that is down stays as it is, so a VMM that sees no acknowledgement
    /// may call this at each access of the guest to the device.
    pub fn end_of_interrupt(&self) {
        if self.level.set(false) {
            // Full would be signalled too.
            let _ = self.level.intx.end_of_interrupt();
        }
    }
}

impl Drop for LineThread {
    fn drop(&mut self) {
        // The counter is far from full, as this is its only write.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // If the VMM's closure panicked, the thread has ended all the same.
            let _ = thread.join();
        }
    }
}

impl Level {
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
                Ok(_) if fds.first().is_some_and(|stop| stop.revents().is_empty()) => {
                    if self.intx.take_trigger() {
                        self.set(true);
                    }
                }
                _ => return,
            }
        }
    }

    /// Raises or lowers the line; whether it was up.
    fn set(&self, up: bool) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (level, call) = &mut *state;
        let before = std::mem::replace(level, up);
        if before != up {
            call(up);
        }
        before
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Level").field("intx", &self.intx).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_closure_hears_of_each_change_once() {
        let intx = Intx::new().unwrap();
        let (sender, levels) = channel();
        let thread = LineThread::start(&intx, move |up| sender.send(up).unwrap()).unwrap();
        // The line is down: nothing to end.
        thread.end_of_interrupt();
        assert!(intx.resample().read().is_err());
        for _ in 0..3 {
            intx.trigger().write(1).unwrap();
            assert!(levels.recv().unwrap());
            thread.end_of_interrupt();
            thread.end_of_interrupt();
            assert!(!levels.recv().unwrap());
            assert_eq!(intx.resample().read().unwrap(), 1);
        }
        drop(thread);
        // The closure has gone with the thread.
        assert!(levels.recv().is_err());
    }
}
