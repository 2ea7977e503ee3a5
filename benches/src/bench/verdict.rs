//! The measures that have an aim, and whether it is met.

use super::clock::median;
use super::cpus::Place;
use super::disk::{self, Backend, Cell};
use super::path::{self, Act};
use super::transport::{self, Peer, Stream, Waiting};
use crate::front::Front;

/// What a measure should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Aim {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
}

impl Aim {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

impl std::fmt::Display for Aim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

/// A measure with its aim.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) name: &'static str,
    /// Under which circumstances.
    pub(crate) circumstances: String,
    /// `None`: it could not be measured, and `reason` says why.
    pub(crate) value: Option<f64>,
    pub(crate) aim: Aim,
    /// Where a missed aim is lost, as profiles and counts have shown.
    pub(crate) reason: &'static str,
}

impl Verdict {
    /// "met", "missed" or "not measured".
    pub(crate) fn word(&self) -> &'static str {
        match self.value {
            Some(value) if self.aim.met(value) => "met",
            Some(_) => "missed",
            None => "not measured",
        }
    }

    /// The reason, unless the aim is met.
    pub(crate) fn why(&self) -> &'static str {
        if self.word() == "met" {
            ""
        } else {
            self.reason
        }
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The transport's.
pub(crate) fn of_transport(found: &transport::Found) -> Vec<Verdict> {
    let ring = found.trip(Peer::Ring, Waiting::Spinning, Place::TwoCpus);
    let faster = |peer: Option<(transport::Trip, &transport::Figures)>| {
        let (trip, figures) = peer?;
        let value = finite(ring?.times_faster_than(figures))?;
        Some((format!("{}, {}", trip.waiting, trip.place), value))
    };
    let posted = || {
        let limit = found.stream(Stream::LineLimit)?;
        finite(limit.times_faster_than(found.stream(Stream::Posted(16))?))
    };
    let blocked = || {
        let ring = found.trip(Peer::Ring, Waiting::Sleeping, Place::OneCpu)?;
        let eventfd = found.trip(Peer::Eventfd, Waiting::Sleeping, Place::OneCpu)?;
        finite(eventfd.times_faster_than(ring))
    };
    let unix = faster(found.best(Peer::UnixStream));
    #[cfg(feature = "iceoryx2")]
    let iceoryx = faster(found.best(Peer::IceoryxRequest));
    #[cfg(not(feature = "iceoryx2"))]
    let iceoryx: Option<(String, f64)> = None;
    vec![
        Verdict {
            name: "read_crossing_over_L",
            circumstances: "spinning, two CPUs".to_owned(),
            value: ring.and_then(|ring| finite(ring.over_line())),
            aim: Aim::AtMost(1.5),
            reason: "the worker polls a mailbox and a ring per look and decodes the whole line; the fence after an answer is 5 ns of it",
        },
        Verdict {
            name: "posted_write_over_line_limit",
            circumstances: "batch 16, with wake suppression".to_owned(),
            value: posted(),
            aim: Aim::AtLeast(0.45),
            reason: "encoding (a third of the samples) and validating (two fifths) each message cost more than its line",
        },
        Verdict {
            name: "read_crossing_vs_unix_socket",
            circumstances: unix
                .as_ref()
                .map_or_else(String::new, |(at, _)| format!("the socket {at}")),
            value: unix.map(|(_, value)| value),
            aim: Aim::AtLeast(50.0),
            reason: "follows read_crossing_over_L: the socket is at about 63 x L",
        },
        Verdict {
            name: "read_crossing_vs_iceoryx2",
            circumstances: "its request-response, spinning, two CPUs".to_owned(),
            value: iceoryx.map(|(_, value)| value),
            aim: Aim::AtLeast(6.0),
            reason: if cfg!(feature = "iceoryx2") {
                "follows read_crossing_over_L"
            } else {
                "built without the feature iceoryx2"
            },
        },
        Verdict {
            name: "blocked_crossing_vs_eventfd",
            circumstances: "same CPU".to_owned(),
            value: blocked(),
            aim: Aim::AtMost(1.15),
            reason: "six system calls to the eventfds' four: before each write a look whether the peer has made it block, and sleep in epoll, which watches the peer's end too",
        },
    ]
}

/// The path's: by act, what the ring adds to an exit, as a part of the exit.
pub(crate) fn of_path(found: Option<&[path::Found]>) -> Vec<Verdict> {
    Act::ALL
        .into_iter()
        .map(|act| {
            let value = found.and_then(|found| {
                let of = |front| {
                    let figure = found.iter().find(|f| f.act == act && f.front == front)?;
                    finite(median(&mut figure.nanoseconds.clone()))
                };
                let exit = of(None)?;
                Some((of(Some(Front::Ring))? - exit) / exit)
            });
            Verdict {
                name: "guest_access_added_ns",
                circumstances: format!("ring, {}, over the exit's own cost", act.name()),
                value,
                aim: Aim::AtMost(0.1),
                reason: if found.is_none() {
                    "no /dev/kvm"
                } else {
                    "the crossing itself; a read that is answered from a register mirror needs none"
                },
            }
        })
        .collect()
}

/// The disk's.
pub(crate) fn of_disk(found: &disk::Found) -> Vec<Verdict> {
    let cell = |depth| Cell {
        backend: Backend::Memory,
        vcpus: 1,
        depth,
        front: Front::Ring,
    };
    let over = |depth| found.over_in_process(cell(depth)).and_then(finite);
    let sample = |depth| found.sample(Front::Ring, Backend::Memory, 1, depth);
    let mut verdicts = Vec::new();
    for depth in [1, 16] {
        verdicts.push(Verdict {
            name: "crossings_per_io",
            circumstances: format!("ring, memory, QD {depth}"),
            value: sample(depth).map(disk::Sample::crossings_per_io),
            aim: Aim::AtMost(0.0),
            reason: "the interrupt handler reads status registers, and each read that no mirror answers is a crossing",
        });
    }
    for (depth, least) in [(16, 1.2), (1, 0.9)] {
        verdicts.push(Verdict {
            name: "iops_ring_vs_in_process",
            circumstances: format!("memory, 1 vCPU, QD {depth}"),
            value: over(depth),
            aim: Aim::AtLeast(least),
            reason: "the guest's exits are most of the time, and the interrupt's crossings meet a worker that may sleep",
        });
    }
    verdicts.push(Verdict {
        name: "syscalls_per_io",
        circumstances: "emulator, ring, memory, QD 16".to_owned(),
        value: found
            .system_calls
            .iter()
            .find_map(|(depth, count)| (*depth == 16).then_some(*count)),
        aim: Aim::AtMost(0.5),
        reason: if found.counter.is_none() {
            "neither perf's tracepoint nor strace works here"
        } else {
            "an interrupt is a system call at the trigger and one at its end; a worker that sleeps makes more"
        },
    });
    verdicts.push(Verdict {
        name: "context_switches_per_io",
        circumstances: "vCPU and emulator, ring, memory, QD 16".to_owned(),
        value: sample(16).map(disk::Sample::context_switches_per_io),
        aim: Aim::AtMost(0.1),
        reason: "a vCPU or a worker that sleeps between requests, or other load on the machine",
    });
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_say_what_is_the_case() {
        let verdict = |value, aim| Verdict {
            name: "x",
            circumstances: String::new(),
            value,
            aim,
            reason: "because",
        };
        let met = verdict(Some(1.5), Aim::AtMost(1.5));
        assert_eq!((met.word(), met.why()), ("met", ""));
        let missed = verdict(Some(1.1), Aim::AtLeast(1.2));
        assert_eq!((missed.word(), missed.why()), ("missed", "because"));
        let absent = verdict(None, Aim::AtLeast(1.2));
        assert_eq!((absent.word(), absent.why()), ("not measured", "because"));
    }
}
