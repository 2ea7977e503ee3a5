//! Step 5, intake: a front turns what a client sends into accesses of a function.
//!
//! One [`Export`] serves one function to one client at a time. The socket speaks vfio-user (`docs/vfio-user.md`);
//! a client that asks for it gets rings in shared memory besides.

mod counts;
mod endpoint;
mod rate_limit;
mod ring;
mod vfio_user;

use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use tracing::{debug, info, warn};

use crate::device::Progress as Ran;
use crate::dma;
use crate::pci::Function;
pub use counts::Counts;
pub use endpoint::{Connection, Endpoint, Listener};
use rate_limit::RateLimit;
use ring::RingFront;
use vfio_user::{End, Progress, Session};

/// Tokens below this belong to the event loop, those from here on to the front.
pub const FIRST_FRONT_TOKEN: usize = 1024;

const LISTENER: Token = Token(FIRST_FRONT_TOKEN);
const CLIENT: Token = Token(FIRST_FRONT_TOKEN + 1);
const MASK: Token = Token(FIRST_FRONT_TOKEN + 2);
const UNMASK: Token = Token(FIRST_FRONT_TOKEN + 3);
const DOORBELL: Token = Token(FIRST_FRONT_TOKEN + 4);

/// How long after an attempt that failed, for want of descriptors say, a client that waits is accepted: nothing announces it again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(500);

/// A function exported over vfio-user, with the ring where the client asks for it.
///
/// When a client goes, or is sent away because it broke the protocol, the function is reset and all guest
/// RAM unmapped before the next client is served.
#[derive(Debug)]
pub struct Export {
    label: String,
    /// `None` for an inherited client.
    listener: Option<Listener>,
    session: Option<Session>,
    /// The loop's, for [`Export::intake`]; set by [`Export::register`].
    registry: Option<Registry>,
    /// A bounded portion was served and the socket may hold more.
    more: bool,
    /// A client waits that could not be accepted.
    accept_at: Option<Instant>,
    complaints: RateLimit,
    /// Of clients that wait for another one.
    busy: RateLimit,
    /// Of clients that share no memory.
    unshared: RateLimit,
    /// What [`dma::losses`] said at the last look.
    losses: u64,
    /// Of connections that are no more.
    past: Counts,
}

impl Export {
    /// An export on this endpoint (made non-blocking by the caller before the sandbox closes). `label` names it in logs.
    #[must_use]
    pub fn new(endpoint: Endpoint, label: String) -> Self {
        let (listener, session) = match endpoint {
            Endpoint::Listening(socket) => (Some(socket), None),
            Endpoint::Connected(socket) => (None, Some(Session::new(socket))),
        };
        Self {
            label,
            listener,
            session,
            registry: None,
            more: false,
            accept_at: None,
            complaints: RateLimit::default(),
            busy: RateLimit::default(),
            unshared: RateLimit::default(),
            losses: dma::losses(),
            past: Counts::default(),
        }
    }

    /// Registers what is to be watched.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn register(&mut self, registry: &Registry) -> io::Result<()> {
        if let Some(listener) = &self.listener {
            registry.register(
                &mut SourceFd(&listener.as_raw_fd()),
                LISTENER,
                Interest::READABLE,
            )?;
        }
        if let Some(session) = &self.session {
            session.register(registry)?;
        }
        self.registry = Some(registry.try_clone()?);
        Ok(())
    }

    /// An event came. Serves everything that is there, in bounded portions.
    pub fn ready(&mut self, registry: &Registry, event: &Event, function: &mut Function) {
        match event.token() {
            LISTENER => {
                if self.session.is_some() {
                    self.say_busy();
                }
                self.accept(registry);
            }
            CLIENT => {
                if let Some(session) = &mut self.session {
                    session.announced(event.is_read_closed());
                }
                self.serve(registry, function);
            }
            MASK => {
                if let Some(session) = &mut self.session {
                    session.intx().mask_signalled();
                }
            }
            UNMASK => {
                // Nothing there: it was taken before.
                self.take_unmask();
            }
            DOORBELL => {
                // Watched edge-triggered, so there is nothing to drain.
                if let Some(ring) = self.ring() {
                    ring.awake();
                }
            }
            // A token of an earlier client's.
            _ => {}
        }
    }

    /// Takes what the rings hold and what an earlier portion left in the socket, a bounded portion; and the client that waits, if it
    /// is time to try again. Whether there was
    /// anything: then the worker must not sleep yet. `poll`: there is nothing else to do, so it looks for a little while.
    pub fn intake(&mut self, function: &mut Function, poll: bool) -> bool {
        let Some(registry) = self.registry.take() else {
            return false;
        };
        if self.accept_at.is_some_and(|at| at <= Instant::now()) {
            self.accept(&registry);
        }
        let mut any = self.more;
        if self.more {
            self.serve(&registry, function);
        }
        match self.ring().map(|ring| ring.intake(function, poll)) {
            Some(Ok(found)) => any |= found,
            Some(Err(error)) => self.end(&registry, function, &error.into()),
            None => {}
        }
        self.registry = Some(registry);
        any
    }

    /// Runs the function for a bounded slice; a client with rings sees its mirrored registers change.
    pub fn run(&mut self, function: &mut Function, now: Instant) -> Ran {
        self.settle_claims(function);
        if let Some(session) = &mut self.session {
            session.intx().follow(function.interrupt());
        }
        let Some(ring) = self.ring() else {
            return function.run(now);
        };
        if ring.is_in_turn() {
            return Ran::More;
        }
        let ran = match ring.mirror() {
            Some(mirror) => function.run_mirrored(now, mirror),
            None => function.run(now),
        };
        ring.publish_snapshots(function);
        ran
    }

    /// What the client has read without the device is read: the line may have fallen.
    fn settle_claims(&mut self, function: &mut Function) {
        if let Some(ring) = self.ring() {
            ring.settle_claims(function);
        }
    }

    /// After accesses and runs: brings the client's interrupt in line with [`Function::interrupt`]. While the worker is `busy`,
    /// and comes back at once, that may wait for a short while: what is completed meanwhile shares the interrupt.
    pub fn settle(&mut self, function: &mut Function, now: Instant, busy: bool) {
        self.settle_claims(function);
        if let Some(session) = &mut self.session {
            session.intx().settle(function.interrupt(), now, busy);
            if let Some(address) = function.unshared_memory()
                && session.first_unshared()
                && let Some(unsaid) = self.unshared.allow()
            {
                warn!(
                    export = self.label,
                    unsaid,
                    "the guest's memory at {address:#x} is not shared with the device: start QEMU with \
                     -object memory-backend-memfd,id=ram,size=SIZE,share=on -machine memory-backend=ram"
                );
            }
        }
    }

    /// Says that a client waits, if one does.
    fn say_busy(&mut self) {
        if self.listener.as_ref().is_some_and(Listener::has_client)
            && let Some(unsaid) = self.busy.allow()
        {
            warn!(
                export = self.label,
                unsaid,
                "busy: a client waits until the one that is connected has gone, as each --export serves one VMM at a time"
            );
        }
    }

    /// Whether a client is connected.
    #[must_use]
    pub fn has_client(&self) -> bool {
        self.session.is_some()
    }

    /// Whether the guest's end of an interrupt, which comes by eventfd, holds back the next one.
    pub fn awaits_unmask(&mut self, function: &Function) -> bool {
        let level = function.interrupt();
        let session = self.session.as_mut();
        session.is_some_and(|session| session.intx().awaits_unmask(level))
    }

    /// Takes the guest's end of an interrupt, if it has come by eventfd. Whether it had.
    pub fn take_unmask(&mut self) -> bool {
        let session = self.session.as_mut();
        session.is_some_and(|session| session.intx().unmask_signalled())
    }

    /// When [`Export::intake`] and [`Export::settle`] must be called although nothing happens.
    pub fn deadline(&mut self) -> Option<Instant> {
        let settle = self.session.as_mut().and_then(|it| it.intx().deadline());
        [settle, self.accept_at].into_iter().flatten().min()
    }

    /// Announces to the rings' clients that the worker is about to sleep. `false`: something has come meanwhile, do
    /// not sleep. After the sleep, or after `false`, call [`Export::awake`].
    pub fn prepare_sleep(&mut self) -> bool {
        !self.more && self.ring().is_none_or(|ring| ring.prepare_sleep())
    }

    /// The worker is awake: no doorbell is needed.
    pub fn awake(&mut self) {
        if let Some(ring) = self.ring() {
            ring.awake();
        }
    }

    /// Ends the session if guest RAM was found to be gone. Whether it did: then there may be more to do.
    pub fn check_guest_ram(&mut self, function: &mut Function) -> bool {
        let losses = dma::losses();
        if std::mem::replace(&mut self.losses, losses) == losses {
            return false;
        }
        let Some(address) = function.lost_guest_ram() else {
            return false;
        };
        let Some(registry) = self.registry.take() else {
            return false;
        };
        self.end(&registry, function, &End::GuestRam(address));
        self.registry = Some(registry);
        true
    }

    /// Whether a ring is attached whose client runs on another CPU: then polling before sleeping pays.
    #[must_use]
    pub fn has_ring(&self) -> bool {
        self.session.as_ref().is_some_and(Session::polling_pays)
    }

    /// What was counted so far, over all clients.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let now = self.session.as_ref().map(Session::counts);
        self.past.plus(now.unwrap_or_default())
    }

    fn ring(&mut self) -> Option<&mut RingFront> {
        self.session.as_mut()?.ring()
    }

    /// The inherited client has gone: nothing is left to serve.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.listener.is_none() && self.session.is_none()
    }

    /// Takes the next client from the backlog, if there is none now.
    fn accept(&mut self, registry: &Registry) {
        self.accept_at = None;
        let (None, Some(listener)) = (&self.session, &self.listener) else {
            return;
        };
        match listener.accept() {
            Ok(connection) => {
                let session = Session::new(connection);
                match session.register(registry) {
                    Ok(()) => {
                        info!(export = self.label, "client connected");
                        self.session = Some(session);
                    }
                    Err(error) => {
                        warn!(export = self.label, %error, "cannot watch the client");
                        self.accept_at = Instant::now().checked_add(ACCEPT_AGAIN);
                    }
                }
            }
            Err(rustix::io::Errno::AGAIN) => {}
            Err(error) => {
                self.accept_at = Instant::now().checked_add(ACCEPT_AGAIN);
                if let Some(unsaid) = self.complaints.allow() {
                    warn!(export = self.label, %error, unsaid, "cannot accept a client");
                }
            }
        }
    }

    /// Serves the client a bounded portion.
    fn serve(&mut self, registry: &Registry, function: &mut Function) {
        self.more = false;
        let Some(session) = &mut self.session else {
            return;
        };
        match session.serve(registry, function) {
            Ok(Progress::Idle) => {}
            Ok(Progress::More) => self.more = true,
            Err(end) => self.end(registry, function, &end),
        }
    }

    /// The client is gone or has to go.
    fn end(&mut self, registry: &Registry, function: &mut Function, end: &End) {
        let closing = self.session.take().map(|session| session.close(registry));
        // The order matters: no DMA is on its way once the device has been reset, and a client that reads the end of
        // the connection has its memory for itself.
        function.reset();
        function.unmap_all();
        function.unshare_memory();
        if let Some((counts, connection)) = closing {
            self.past = self.past.plus(counts);
            drop(connection);
        }
        match end {
            End::Closed => info!(export = self.label, "client disconnected"),
            reason => match self.complaints.allow() {
                Some(unsaid) => {
                    warn!(export = self.label, %reason, unsaid, "connection to the client ended");
                }
                None => debug!(export = self.label, %reason, "connection to the client ended"),
            },
        }
        // The listener's edge may have passed while this client was served.
        self.accept(registry);
    }
}

#[cfg(test)]
mod tests;
