//! How fast a message travels: the ring beside its peers, each figure beside a probe of L.

#[cfg(feature = "iceoryx2")]
mod iceoryx;
mod kernel;
mod queues;
pub(super) mod ring;
mod vfio_user;

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::clock::{Timed, median};
use super::cpus::{Cpus, Place};
use super::line;

/// How an end waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Waiting {
    /// It polls.
    Spinning,
    /// It sleeps in the kernel at once.
    Sleeping,
    /// It polls for as long as a wake costs, then sleeps: what the emulator does.
    Adaptive,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Spinning => "spinning",
            Self::Sleeping => "sleeping",
            Self::Adaptive => "adaptive",
        })
    }
}

/// Who carries the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// A read through the ring's mailbox.
    Ring,
    /// rtrb, a ring each way, within a process.
    Rtrb,
    /// crossbeam's `ArrayQueue`, one each way, within a process.
    ArrayQueue,
    /// iceoryx2's request and response.
    #[cfg(feature = "iceoryx2")]
    IceoryxRequest,
    /// iceoryx2's publish and subscribe, a service each way.
    #[cfg(feature = "iceoryx2")]
    IceoryxPublish,
    /// An eventfd each way, without a message.
    Eventfd,
    /// A UNIX stream socket, 64 bytes each way.
    UnixStream,
    /// A register read by the crate `vfio_user` from the emulator's vfio-user front.
    VfioUser,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ring => "ring (mailbox)",
            Self::Rtrb => "rtrb",
            Self::ArrayQueue => "ArrayQueue",
            #[cfg(feature = "iceoryx2")]
            Self::IceoryxRequest => "iceoryx2 request-response",
            #[cfg(feature = "iceoryx2")]
            Self::IceoryxPublish => "iceoryx2 pub-sub",
            Self::Eventfd => "eventfd",
            Self::UnixStream => "UNIX stream",
            Self::VfioUser => "vfio-user register read",
        })
    }
}

/// One way to do a round trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Trip {
    pub(crate) peer: Peer,
    pub(crate) waiting: Waiting,
    pub(crate) place: Place,
}

/// What is measured, in the order of the table.
pub(crate) const TRIPS: &[Trip] = {
    use Peer::*;
    use Place::{OneCpu, TwoCpus};
    use Waiting::{Adaptive, Sleeping, Spinning};
    const fn trip(peer: Peer, waiting: Waiting, place: Place) -> Trip {
        Trip {
            peer,
            waiting,
            place,
        }
    }
    &[
        trip(Ring, Spinning, TwoCpus),
        trip(Rtrb, Spinning, TwoCpus),
        trip(ArrayQueue, Spinning, TwoCpus),
        #[cfg(feature = "iceoryx2")]
        trip(IceoryxPublish, Spinning, TwoCpus),
        #[cfg(feature = "iceoryx2")]
        trip(IceoryxRequest, Spinning, TwoCpus),
        trip(Eventfd, Spinning, TwoCpus),
        trip(UnixStream, Spinning, TwoCpus),
        trip(Ring, Adaptive, TwoCpus),
        trip(Ring, Sleeping, TwoCpus),
        trip(Eventfd, Sleeping, TwoCpus),
        trip(UnixStream, Sleeping, TwoCpus),
        trip(VfioUser, Adaptive, TwoCpus),
        trip(Ring, Sleeping, OneCpu),
        trip(Eventfd, Sleeping, OneCpu),
        trip(UnixStream, Sleeping, OneCpu),
        trip(VfioUser, Adaptive, OneCpu),
    ]
};

/// One way to stream messages one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    /// Bare stamped lines.
    LineLimit,
    /// Posted writes through the ring, so many per call.
    Posted(usize),
    /// rtrb, so many per chunk.
    Rtrb(usize),
}

/// What is measured, in the order of the table.
pub(crate) const STREAMS: [Stream; 6] = [
    Stream::LineLimit,
    Stream::Posted(1),
    Stream::Posted(4),
    Stream::Posted(16),
    Stream::Rtrb(1),
    Stream::Rtrb(16),
];

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LineLimit => f.pad("bare lines (the limit)"),
            Self::Posted(batch) => f.pad(&format!("ring, posted writes, batch {batch}")),
            Self::Rtrb(batch) => f.pad(&format!("rtrb, batch {batch}")),
        }
    }
}

/// One figure of each round, and L as probed before and after it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Nanoseconds (a round trip), or messages per second (a stream).
    pub(crate) values: Vec<f64>,
    /// L around each, in nanoseconds.
    pub(crate) lines: Vec<f64>,
}

impl Figures {
    /// The median of the rounds.
    pub(crate) fn median(&self) -> f64 {
        median(&mut self.values.clone())
    }

    /// The median of the figures as multiples of the L around each.
    pub(crate) fn over_line(&self) -> f64 {
        self.ratio(|value, line| value / line, &self.lines)
    }

    /// How many times as long `other` takes: the median over the pairs of rounds in which L was about the same, over all
    /// pairs if there are none. The host moves its CPUs, and what costs line transfers follows L, while system
    /// calls do not.
    pub(crate) fn times_faster_than(&self, other: &Self) -> f64 {
        const ALIKE: f64 = 1.25;
        let ratios = |alike: bool| {
            let mut ratios = Vec::new();
            for (value, line) in self.values.iter().zip(&self.lines) {
                for (theirs, their_line) in other.values.iter().zip(&other.lines) {
                    let same = line.max(*their_line) <= ALIKE * line.min(*their_line);
                    if same || !alike {
                        ratios.push(theirs / value);
                    }
                }
            }
            ratios
        };
        let mut found = ratios(true);
        if found.is_empty() {
            found = ratios(false);
        }
        median(&mut found)
    }

    fn ratio(&self, of: impl Fn(f64, f64) -> f64, others: &[f64]) -> f64 {
        let pairs = self.values.iter().zip(others);
        median(&mut pairs.map(|(&a, &b)| of(a, b)).collect::<Vec<_>>())
    }
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) trips: Vec<(Trip, Figures, Option<Timed>)>,
    pub(crate) streams: Vec<(Stream, Figures)>,
}

impl Found {
    /// A round trip's figures.
    pub(crate) fn trip(&self, peer: Peer, waiting: Waiting, place: Place) -> Option<&Figures> {
        let wanted = Trip {
            peer,
            waiting,
            place,
        };
        self.trips
            .iter()
            .find_map(|(trip, figures, _)| (*trip == wanted).then_some(figures))
    }

    /// The fastest way of a peer.
    pub(crate) fn best(&self, peer: Peer) -> Option<(Trip, &Figures)> {
        self.trips
            .iter()
            .filter(|(trip, ..)| trip.peer == peer)
            .map(|(trip, figures, _)| (*trip, figures))
            .min_by(|(_, a), (_, b)| a.median().total_cmp(&b.median()))
    }

    /// A stream's figures.
    pub(crate) fn stream(&self, wanted: Stream) -> Option<&Figures> {
        self.streams
            .iter()
            .find_map(|(stream, figures)| (*stream == wanted).then_some(figures))
    }
}

/// Time for one figure in one round.
const BUDGET: Duration = Duration::from_millis(200);

/// Measures everything once per round, in turn; a failed peer is an error.
pub(crate) fn measure(
    cpus: Cpus,
    rounds: usize,
    lines: &mut Vec<f64>,
    mut say: impl FnMut(&str),
) -> Result<Found> {
    let mut found = Found::default();
    for trip in TRIPS {
        let spinning = trip.waiting == Waiting::Spinning;
        if cpus.are_two() || (trip.place == Place::OneCpu && !spinning) {
            found.trips.push((*trip, Figures::default(), None));
        }
    }
    if cpus.are_two() {
        let streams = STREAMS.map(|stream| (stream, Figures::default()));
        found.streams.extend(streams);
    }
    for round in 1..=rounds {
        say(&format!("transport, round {round} of {rounds}"));
        for (trip, figures, last) in &mut found.trips {
            let timed = around(cpus, lines, figures, || one_trip(cpus, *trip))
                .with_context(|| format!("{}, {}", trip.peer, trip.waiting))?;
            figures.values.push(timed.nanoseconds);
            match last {
                Some(last) => last.single.add(&timed.single)?,
                None => *last = Some(timed),
            }
        }
        for (stream, figures) in &mut found.streams {
            let rate = around(cpus, lines, figures, || one_stream(cpus, *stream))
                .with_context(|| stream.to_string())?;
            figures.values.push(rate);
        }
    }
    Ok(found)
}

/// Probes L before and after; where the two differ much the machine has moved meanwhile, and it is done again.
fn around<T>(
    cpus: Cpus,
    lines: &mut Vec<f64>,
    figures: &mut Figures,
    measure: impl Fn() -> Result<T>,
) -> Result<T> {
    const ATTEMPTS: u32 = 3;
    const STEADY: f64 = 1.2;
    if !cpus.are_two() {
        figures.lines.push(f64::NAN);
        return measure();
    }
    let mut attempt = 1;
    loop {
        let before = line::round_trip(cpus)?;
        let result = measure()?;
        let after = line::round_trip(cpus)?;
        lines.extend([before, after]);
        if before.max(after) <= STEADY * before.min(after) || attempt == ATTEMPTS {
            figures.lines.push(f64::midpoint(before, after));
            return Ok(result);
        }
        attempt += 1;
    }
}

fn one_trip(cpus: Cpus, trip: Trip) -> Result<Timed> {
    let Trip {
        peer,
        waiting,
        place,
    } = trip;
    match peer {
        Peer::Ring => ring::reads(cpus, place, waiting, BUDGET),
        Peer::Rtrb => queues::rtrb(cpus, BUDGET),
        Peer::ArrayQueue => queues::array_queue(cpus, BUDGET),
        #[cfg(feature = "iceoryx2")]
        Peer::IceoryxRequest => iceoryx::request_response(cpus, BUDGET),
        #[cfg(feature = "iceoryx2")]
        Peer::IceoryxPublish => iceoryx::publish_subscribe(cpus, BUDGET),
        Peer::Eventfd => kernel::eventfds(cpus, place, waiting, BUDGET),
        Peer::UnixStream => kernel::unix_stream(cpus, place, waiting, BUDGET),
        Peer::VfioUser => vfio_user::register_reads(cpus, place, BUDGET),
    }
}

fn one_stream(cpus: Cpus, stream: Stream) -> Result<f64> {
    match stream {
        Stream::LineLimit => line::one_way(cpus, BUDGET),
        Stream::Posted(batch) => ring::posts(cpus, batch, BUDGET),
        Stream::Rtrb(batch) => queues::rtrb_one_way(cpus, batch, BUDGET),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_compared_at_the_same_speed_of_lines() {
        let ring = Figures {
            values: vec![100.0, 400.0],
            lines: vec![50.0, 400.0],
        };
        let socket = Figures {
            values: vec![3000.0, 3000.0],
            lines: vec![51.0, 48.0],
        };
        assert_eq!(
            ring.times_faster_than(&socket).to_bits(),
            30.0_f64.to_bits()
        );
        assert!((ring.over_line() - 2.0).abs() < 1e-9);
        assert!(Figures::default().times_faster_than(&socket).is_nan());
    }
}
