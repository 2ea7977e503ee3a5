//! Step 11, interrupt: a level-triggered line over eventfds.
//!
//! ```text
//!              line up: signal `trigger`
//!   unmasked ─────────────────────────────> automasked
//!      ^                                        │
//!      └────────────────────────────────────────┘
//!        UNMASK, by message or by eventfd: the guest has seen it
//! ```
//! Unmasked with the line still up goes back: [`Intx::settle`] signals again. An eventfd carries edges,
//! so a server that signals only when the line rises loses an interrupt whenever the guest's handler leaves with
//! another cause pending; that is why the level is looked at after every unmask. The client's own
//! MASK is a second bit beside it, and UNMASK clears both.
//!
//! # When it goes back
//! - Unmasked by the eventfd: at once. That is KVM's resample descriptor, signalled at the guest's end of interrupt.
//! - Unmasked by a message: after [`GRACE`], unless the line goes down before. QEMU without KVM's interrupt controller
//!   cannot see the end of an interrupt. It unmasks at the handler's first access to the device, which reads the cause;
//!   the write that takes the cause away is the next message. A signal between the two would be a second interrupt
//!   with nothing to find. A line that falls and rises again is a new interrupt, and is signalled at once.

use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use outrigger_vfio_user::{IrqSetFlags, SetIrqs};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use tracing::debug;

use super::super::{MASK, UNMASK};

/// The interrupt index of INTx.
pub(super) const INDEX: u32 = 0;

/// The interrupt index of errors that the device cannot correct. QEMU wants it there, and says so at every start if it is not.
pub(super) const ERROR_INDEX: u32 = 3;

/// Interrupt indices are below this: INTx, MSI, MSI-X, ERR, REQ.
pub(super) const IRQ_INDICES: u32 = 5;

/// How long a handler that has been seen to begin may take to lower the line before it is interrupted again: long against
/// the way from one of its accesses to the next, also where its host is busy; short against what a driver waits for.
pub(in crate::front) const GRACE: Duration = Duration::from_micros(500);

/// How long an interrupt may wait while the device goes on working: for more completions to share it. Each interrupt costs both
/// sides system calls. Long against a request that is served from memory, short against what any other request takes. A device
/// that has nothing else to do interrupts at once.
pub(in crate::front) const GATHER: Duration = Duration::from_micros(20);

/// What keeps a line that is up from being signalled again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Hold {
    #[default]
    None,
    /// A message has unmasked it: the grace begins with the next look.
    Asked,
    Until(Instant),
}

/// The client's side of the function's interrupt line.
#[derive(Debug, Default)]
pub(in crate::front) struct Intx {
    /// Signalled when the guest is to be interrupted; `None`: nobody listens.
    trigger: Option<OwnedFd>,
    /// The client masks with it.
    mask: Option<OwnedFd>,
    /// The client unmasks with it: KVM's resample eventfd.
    unmask: Option<OwnedFd>,
    /// By the client.
    masked: bool,
    /// By a trigger that the client has not answered with an unmask yet.
    automasked: bool,
    /// Ends with the line's fall.
    hold: Hold,
    /// Since when a signal is due that waits because the device is busy.
    due: Option<Instant>,
    /// How often `trigger` was signalled for the line; how often the client unmasked.
    counts: (u64, u64),
}

impl Intx {
    /// DEVICE_SET_IRQS.
    ///
    /// # Errors
    /// EINVAL for flags, an index, a range, data or descriptors that do not fit; nothing has changed then.
    pub(super) fn set(
        &mut self,
        registry: &Registry,
        set: &SetIrqs<'_>,
        mut fds: Vec<OwnedFd>,
    ) -> Result<(), Errno> {
        let actions =
            IrqSetFlags::ACTION_MASK | IrqSetFlags::ACTION_UNMASK | IrqSetFlags::ACTION_TRIGGER;
        let action = set.flags & actions;
        let data = set.flags - actions;
        if set.index != INDEX || set.start != 0 || set.count > 1 {
            return Err(Errno::INVAL);
        }
        let chosen = match data {
            IrqSetFlags::DATA_NONE if set.count == 0 => {
                if action != IrqSetFlags::ACTION_TRIGGER {
                    return Err(Errno::INVAL);
                }
                self.disable(registry);
                return Ok(());
            }
            _ if set.count == 0 => return Err(Errno::INVAL),
            IrqSetFlags::DATA_EVENTFD => {
                if fds.len() > 1 {
                    return Err(Errno::INVAL);
                }
                return self.wire(registry, action, fds.pop());
            }
            IrqSetFlags::DATA_NONE => true,
            IrqSetFlags::DATA_BOOL => match set.data {
                [chosen] => *chosen != 0,
                _ => return Err(Errno::INVAL),
            },
            _ => return Err(Errno::INVAL),
        };
        match action {
            IrqSetFlags::ACTION_MASK => self.masked |= chosen,
            IrqSetFlags::ACTION_UNMASK if chosen => {
                if self.automasked {
                    self.hold = Hold::Asked;
                }
                self.unmask();
            }
            IrqSetFlags::ACTION_UNMASK => {}
            IrqSetFlags::ACTION_TRIGGER => {
                // A loopback test: as if the device had triggered, without a change of the line.
                if let (true, Some(trigger)) = (chosen, &self.trigger) {
                    signal(trigger);
                }
            }
            _ => return Err(Errno::INVAL),
        }
        Ok(())
    }

    /// Takes an eventfd for `action`, or takes it away.
    fn wire(
        &mut self,
        registry: &Registry,
        action: IrqSetFlags,
        fd: Option<OwnedFd>,
    ) -> Result<(), Errno> {
        if fd.as_ref().is_some_and(|fd| !may_be_eventfd(fd.as_fd())) {
            return Err(Errno::INVAL);
        }
        match action {
            IrqSetFlags::ACTION_TRIGGER => {
                if self.trigger.is_none() {
                    self.unmask();
                }
                self.trigger = fd;
                Ok(())
            }
            IrqSetFlags::ACTION_MASK => watch(registry, MASK, &mut self.mask, fd),
            IrqSetFlags::ACTION_UNMASK => watch(registry, UNMASK, &mut self.unmask, fd),
            _ => Err(Errno::INVAL),
        }
    }

    /// Nobody listens any more.
    pub(super) fn disable(&mut self, registry: &Registry) {
        for slot in [&mut self.mask, &mut self.unmask] {
            if let Some(old) = slot.take() {
                unwatch(registry, &old);
            }
        }
        *self = Self {
            counts: self.counts,
            ..Self::default()
        };
    }

    /// The device was reset, and with it went what the guest had not acknowledged.
    pub(super) fn device_was_reset(&mut self) {
        self.automasked = false;
        self.hold = Hold::None;
    }

    /// Notes a line that accesses have lowered: to be called before the device runs, which may raise it again.
    pub(in crate::front) fn follow(&mut self, level: bool) {
        if !level {
            self.hold = Hold::None;
            self.due = None;
        }
    }

    /// Signals the client if the line is up, it does not know yet, nothing speaks for a handler that is on its way, and
    /// the device is not `busy` or has been for long enough.
    pub(in crate::front) fn settle(&mut self, level: bool, now: Instant, busy: bool) {
        self.follow(level);
        if self.hold == Hold::Asked {
            self.hold = Hold::Until(now + GRACE);
        }
        if !level || self.masked || self.automasked {
            return;
        }
        if let Hold::Until(end) = self.hold
            && now < end
        {
            return;
        }
        let due = *self.due.get_or_insert(now);
        if busy && now.saturating_duration_since(due) < GATHER {
            return;
        }
        self.due = None;
        self.hold = Hold::None;
        if let Some(trigger) = &self.trigger {
            self.automasked = true;
            self.counts.0 += 1;
            signal(trigger);
        }
    }

    /// Whether a line that is up waits for the client's unmask eventfd: until that is looked at, the guest waits too.
    pub(in crate::front) fn awaits_unmask(&self, level: bool) -> bool {
        level && self.automasked && !self.masked && self.unmask.is_some()
    }

    /// When [`Intx::settle`] must be called although nothing happens.
    pub(in crate::front) fn deadline(&self) -> Option<Instant> {
        match self.hold {
            Hold::Until(end) if !self.masked => Some(end),
            _ => None,
        }
    }

    /// The mask eventfd may have been signalled.
    pub(in crate::front) fn mask_signalled(&mut self) {
        if self.mask.as_ref().is_some_and(drain) {
            self.masked = true;
        }
    }

    /// The unmask eventfd may have been signalled. Whether it was.
    pub(in crate::front) fn unmask_signalled(&mut self) -> bool {
        let signalled = self.unmask.as_ref().is_some_and(drain);
        if signalled {
            self.hold = Hold::None;
            self.unmask();
        }
        signalled
    }

    /// Interrupts signalled, and unmasks, so far.
    pub(in crate::front) fn counts(&self) -> (u64, u64) {
        self.counts
    }

    fn unmask(&mut self) {
        self.counts.1 += 1;
        self.masked = false;
        self.automasked = false;
    }
}

/// DEVICE_SET_IRQS for [`ERROR_INDEX`]: what can be done with its one vector. The device has no error that it could not report
/// to the guest itself, so nothing is ever signalled, and the eventfd is not kept.
///
/// # Errors
/// As of [`Intx::set`].
pub(super) fn set_error(set: &SetIrqs<'_>, fds: &[OwnedFd]) -> Result<(), Errno> {
    const TAKE_AWAY: IrqSetFlags = IrqSetFlags::ACTION_TRIGGER.union(IrqSetFlags::DATA_NONE);
    const WIRE: IrqSetFlags = IrqSetFlags::ACTION_TRIGGER.union(IrqSetFlags::DATA_EVENTFD);
    let fits = match (set.flags, set.start, set.count) {
        (TAKE_AWAY, 0, 0) => fds.is_empty(),
        (WIRE, 0, 1) => match fds {
            [] => true,
            [fd] => may_be_eventfd(fd.as_fd()),
            _ => false,
        },
        _ => false,
    };
    if fits { Ok(()) } else { Err(Errno::INVAL) }
}

/// Puts `new` into `slot` and has it watched; on failure the slot is as it was.
fn watch(
    registry: &Registry,
    token: Token,
    slot: &mut Option<OwnedFd>,
    new: Option<OwnedFd>,
) -> Result<(), Errno> {
    if let Some(new) = &new {
        registry
            .register(&mut SourceFd(&new.as_raw_fd()), token, Interest::READABLE)
            .map_err(|_| Errno::INVAL)?;
    }
    if let Some(old) = std::mem::replace(slot, new) {
        unwatch(registry, &old);
    }
    Ok(())
}

fn unwatch(registry: &Registry, fd: &OwnedFd) {
    if let Err(error) = registry.deregister(&mut SourceFd(&fd.as_raw_fd())) {
        debug!(%error, "cannot stop watching an eventfd");
    }
}

/// Whether a descriptor can be an eventfd: those have no file type. Whatever else has none (epoll, timerfd, …)
/// refuses writes at once; a file, a socket or a device could make the worker wait.
fn may_be_eventfd(fd: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(fd)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Unknown)
}

/// Whether a write to `fd` does not block. The client shares the descriptor's flags and could make it blocking, so every
/// write looks first, and asks whether it is ready if it was.
fn cannot_block(fd: &OwnedFd) -> bool {
    if fcntl_getfl(fd).is_ok_and(|flags| flags.contains(OFlags::NONBLOCK)) {
        return true;
    }
    let mut fds = [PollFd::new(fd, PollFlags::OUT)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok() && fds.iter().all(|fd| fd.revents().contains(PollFlags::OUT))
}

/// Adds 1 to an eventfd. One that cannot take it is signalled already.
fn signal(fd: &OwnedFd) {
    if !cannot_block(fd) {
        return;
    }
    match rustix::io::write(fd, &1_u64.to_ne_bytes()) {
        Ok(_) | Err(Errno::AGAIN) => {}
        Err(error) => debug!(%error, "cannot signal an interrupt"),
    }
}

/// Takes an eventfd's count back to 0; whether it was above. Never blocks, whatever the client has made of the flags.
fn drain(fd: &OwnedFd) -> bool {
    /// Wherever the file stands: an eventfd has no positions.
    const HERE: u64 = u64::MAX;
    let mut count = [0; 8];
    let mut parts = [IoSliceMut::new(&mut count)];
    preadv2(fd, &mut parts, HERE, ReadWriteFlags::NOWAIT).is_ok_and(|bytes| bytes > 0)
}
