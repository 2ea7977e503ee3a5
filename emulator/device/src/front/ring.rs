//! Step 5, intake: the rings of one client, as the worker serves them.
//!
//! RING_SETUP becomes [`RingFront::attach`], RING_DOORBELLS [`RingFront::add_doorbells`]; with the last channel's doorbell
//! the rings are live. `docs/ring-protocol.md` specifies what comes and goes.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use outrigger_ring::{
    Error, Geometry, Mirrored, Request, Serve, Server, ServerSetup, SetupError, Snapshots,
    Statistics,
};

use crate::device::Mirror;
use crate::pci::Function;

/// How long the worker serves accesses before it looks after its other work: timers, sockets, the order to stop. Long against what
/// an honest guest's accesses take, short against what anybody notices.
pub(in crate::front) const SLICE: Duration = Duration::from_millis(1);

/// Posted writes reach the device in the order in which the guest made them, reads after all of them. A read or a
/// non-posted write is answered as soon as the registers have it; the device itself runs after the intake, as
/// hardware does.
#[derive(Debug)]
pub(in crate::front) struct RingFront {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Doorbells are missing.
    Setup(Box<ServerSetup>),
    Live(Box<Server>),
}

impl RingFront {
    /// Takes the client's requests and mailboxes memories. Also what goes back: the device memory and the worker's doorbell.
    /// The register mirror has room for what `function` can mirror.
    ///
    /// # Errors
    /// What came is not what the protocol asks for; nothing of it is kept.
    pub(in crate::front) fn attach(
        channels: u32,
        slots: u32,
        requests: OwnedFd,
        mailboxes: OwnedFd,
        function: &Function,
    ) -> Result<(Self, [OwnedFd; 2]), SetupError> {
        let geometry = Geometry::new(channels, slots)?;
        let setup = ServerSetup::new(geometry, requests, mailboxes, registers(function))?;
        let device = setup.device().try_clone_to_owned()?;
        let doorbell = setup.doorbell().try_clone_to_owned()?;
        let state = State::Setup(Box::new(setup));
        Ok((Self { state }, [device, doorbell]))
    }

    /// The size of the register mirror in bytes.
    pub(in crate::front) fn mirror_bytes(&self) -> u32 {
        match &self.state {
            State::Setup(setup) => setup.mirror_bytes(),
            State::Live(_) => 0,
        }
    }

    /// Shows the mirrored registers as they are now: after a change that came another way, and before the client hears
    /// of it.
    pub(in crate::front) fn refresh(&mut self, function: &mut Function) {
        if let State::Live(server) = &mut self.state {
            let served = Served::new(function);
            server.show_all(&served);
            server.publish_snapshots(&served);
        }
    }

    /// After the device has run: publishes what reads of its read-to-clear groups would give now.
    pub(in crate::front) fn publish_snapshots(&mut self, function: &mut Function) {
        if let State::Live(server) = &mut self.state {
            server.publish_snapshots(&Served::new(function));
        }
    }

    /// Has the device clear what clients have claimed, before anybody looks at its interrupt line.
    pub(in crate::front) fn settle_claims(&mut self, function: &mut Function) {
        if let State::Live(server) = &mut self.state {
            server.settle_claims(&mut Served::new(function));
        }
    }

    /// Where the device shows its mirrored registers while it runs.
    pub(in crate::front) fn mirror(&mut self) -> Option<&mut dyn Mirror> {
        match &mut self.state {
            State::Setup(_) => None,
            State::Live(server) => Some(&mut **server),
        }
    }

    /// Takes the doorbells of the channels from `first` on; with the last one the rings are live.
    ///
    /// # Errors
    /// They came out of order or twice, or are no non-blocking eventfds: detach the rings.
    pub(in crate::front) fn add_doorbells(
        self,
        first: u32,
        doorbells: Vec<OwnedFd>,
    ) -> Result<Self, SetupError> {
        let State::Setup(mut setup) = self.state else {
            return Err(SetupError::DoorbellRange {
                first,
                count: doorbells.len(),
                expected: u32::MAX,
            });
        };
        setup.add_doorbells(first, doorbells)?;
        let state = if setup.is_complete() {
            State::Live(Box::new(setup.finish()?))
        } else {
            State::Setup(setup)
        };
        Ok(Self { state })
    }

    /// Whether every channel has its doorbell.
    pub(in crate::front) fn is_live(&self) -> bool {
        matches!(self.state, State::Live(_))
    }

    /// Takes what the rings hold, a bounded portion: looks once, or polls for a little while. Whether there was anything.
    ///
    /// # Errors
    /// The client broke the protocol: end its connection.
    pub(in crate::front) fn intake(
        &mut self,
        function: &mut Function,
        poll: bool,
    ) -> Result<bool, Error> {
        match &mut self.state {
            State::Setup(_) => Ok(false),
            State::Live(server) if poll => server.turn_with(&mut Served::new(function)),
            State::Live(server) => server.look_with(&mut Served::new(function)),
        }
    }

    /// Applies every write that was posted before now, a bounded portion: a request that came over the socket must not overtake
    /// them. `false`: there are more; nothing else is taken in until a later call has returned `true`.
    ///
    /// # Errors
    /// The client broke the protocol: end its connection.
    pub(in crate::front) fn apply_posted(
        &mut self,
        function: &mut Function,
    ) -> Result<bool, Error> {
        match &mut self.state {
            State::Setup(_) => Ok(true),
            State::Live(server) => server.apply_some_with(&mut Served::new(function)),
        }
    }

    /// The last portion was cut short in the middle of what the device must see before it runs: take in more first.
    pub(in crate::front) fn is_in_turn(&self) -> bool {
        match &self.state {
            State::Setup(_) => false,
            State::Live(server) => server.is_in_turn(),
        }
    }

    /// Announces that the worker is about to sleep. `false`: something has come meanwhile, do not sleep. Then, as after the
    /// sleep, call [`RingFront::awake`].
    pub(in crate::front) fn prepare_sleep(&mut self) -> bool {
        match &mut self.state {
            State::Setup(_) => true,
            State::Live(server) => server.prepare_sleep(),
        }
    }

    /// The worker is awake: no doorbell is needed.
    pub(in crate::front) fn awake(&mut self) {
        if let State::Live(server) = &mut self.state {
            server.awake();
        }
    }

    /// Whether polling before a sleep can pay: not while nothing can come, nor where the client can run only on the
    /// worker's CPU.
    pub(in crate::front) fn polling_pays(&self) -> bool {
        match &self.state {
            State::Setup(_) => false,
            State::Live(server) => server.polling_pays(),
        }
    }

    /// What the worker and the clients have counted in this session.
    pub(in crate::front) fn statistics(&self) -> (Statistics, Statistics) {
        match &self.state {
            State::Setup(_) => Default::default(),
            State::Live(server) => (server.statistics(), server.client_statistics()),
        }
    }

    /// The worker's doorbell, to be watched edge-triggered from [`RingFront::attach`] on: each ring is an edge.
    pub(in crate::front) fn doorbell(&self) -> BorrowedFd<'_> {
        match &self.state {
            State::Setup(setup) => setup.doorbell(),
            State::Live(server) => server.as_fd(),
        }
    }
}

/// How many registers a function can mirror.
fn registers(function: &Function) -> u32 {
    (0..outrigger_ring::MAX_MIRRORED)
        .find(|&register| function.mirrored(register).is_none())
        .unwrap_or(outrigger_ring::MAX_MIRRORED)
}

/// The function as the rings' server sees it.
struct Served<'a> {
    function: &'a mut Function,
    /// When the slice ends; known once somebody asks.
    until: Option<Instant>,
}

impl<'a> Served<'a> {
    fn new(function: &'a mut Function) -> Self {
        Self {
            function,
            until: None,
        }
    }
}

impl Serve for Served<'_> {
    fn serve(&mut self, request: Request, seen: Option<u32>) -> u64 {
        match (request, seen) {
            (Request::Read(access), _) => return self.function.read(access),
            (Request::Write(access, value), None) => self.function.write(access, value),
            (Request::Write(access, value), Some(seen)) => {
                self.function.write_seen(access, value, seen)
            }
        }
        0
    }

    fn mirrored(&self, register: u32) -> Option<Mirrored> {
        self.function.mirrored(register)
    }

    fn snapshots(&self) -> Snapshots {
        self.function.snapshots()
    }

    fn claim(&mut self, group: u32) {
        self.function.claim(group);
    }

    fn is_time_up(&mut self) -> bool {
        let now = Instant::now();
        now >= *self.until.get_or_insert(now + SLICE)
    }
}
