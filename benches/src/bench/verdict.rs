//! The measures that have an aim, and whether it is met.

use outrigger_vmm::kvm_unavailable;

use super::clock::median;
use super::cpus::Place;
use super::disk::{self, Backend, Cell, Setting};
use super::path::{self, Act};
use super::transport::{self, Peer, Stream, Waiting};
use crate::front::Front;
use crate::reads::Sample;

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
    /// Where a missed aim is lost, as profiles and this run's counts show.
    pub(crate) reason: String,
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
    pub(crate) fn why(&self) -> &str {
        if self.word() == "met" {
            ""
        } else {
            &self.reason
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
    // What a peer or the ring itself takes, in lines: a ratio to a peer cannot be greater than the peer's.
    let over_line = |figures: Option<&transport::Figures>| {
        figures.map_or_else(
            || "not measured".to_owned(),
            |figures| {
                let (ratio, nanoseconds) = (figures.over_line(), figures.median());
                format!("{ratio:.1} x L, {nanoseconds:.0} ns")
            },
        )
    };
    let posted = || {
        let limit = found.stream(Stream::LineLimit)?;
        finite(limit.times_faster_than(found.stream(Stream::Posted(16))?))
    };
    let ring_asleep = found.trip(Peer::Ring, Waiting::Sleeping, Place::OneCpu);
    let eventfds = found.trip(Peer::Eventfd, Waiting::Sleeping, Place::OneCpu);
    let blocked = || finite(eventfds?.times_faster_than(ring_asleep?));
    let socket = found.best(Peer::UnixStream);
    let unix = faster(socket);
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
            reason: "the worker polls a mailbox and a ring per look and decodes the whole line"
                .to_owned(),
        },
        Verdict {
            name: "posted_write_over_line_limit",
            circumstances: "batch 16, with wake suppression".to_owned(),
            value: posted(),
            aim: Aim::AtLeast(0.45),
            reason: "encoding and validating each message cost more than its line".to_owned(),
        },
        Verdict {
            name: "read_crossing_vs_unix_socket",
            circumstances: unix
                .as_ref()
                .map_or_else(String::new, |(at, _)| format!("the socket {at}")),
            value: unix.map(|(_, value)| value),
            aim: Aim::AtLeast(50.0),
            reason: format!(
                "the socket takes {}, the ring {}: system calls do not get slower where lines do",
                over_line(socket.map(|(_, figures)| figures)),
                over_line(ring)
            ),
        },
        Verdict {
            name: "read_crossing_vs_iceoryx2",
            circumstances: "its request-response, spinning, two CPUs".to_owned(),
            value: iceoryx.map(|(_, value)| value),
            aim: Aim::AtLeast(6.0),
            reason: if cfg!(feature = "iceoryx2") {
                format!(
                    "follows read_crossing_over_L: the ring takes {}",
                    over_line(ring)
                )
            } else {
                "built without the feature iceoryx2".to_owned()
            },
        },
        Verdict {
            name: "blocked_crossing_vs_eventfd",
            circumstances: "same CPU".to_owned(),
            value: blocked(),
            aim: Aim::AtMost(1.15),
            reason: "six system calls to the eventfds' four: before each write a look whether the peer has made it block, and sleep in epoll, which watches the peer's end too"
                .to_owned(),
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
                    kvm_unavailable().map_or_else(String::new, |reason| reason.to_string())
                } else {
                    "the crossing itself; a read that is answered from a register mirror needs none"
                        .to_owned()
                },
            }
        })
        .collect()
}

/// The disk's: with a guest under KVM, and with a driver that nothing slows down.
pub(crate) fn of_disk(found: &disk::Found) -> Vec<Verdict> {
    [false, true]
        .into_iter()
        .flat_map(|software| {
            of_setting(
                found,
                Setting {
                    backend: Backend::Memory,
                    software,
                },
            )
        })
        .collect()
}

fn of_setting(found: &disk::Found, setting: Setting) -> Vec<Verdict> {
    let cell = |front, depth| Cell {
        setting,
        devices: 1,
        vcpus: 1,
        depth,
        front,
    };
    let sample = |depth| found.cells.get(&cell(Front::Ring, depth));
    let at = |depth| format!("ring, {setting}, QD {depth}");
    let mut verdicts = Vec::new();
    for depth in [1, 16] {
        verdicts.push(Verdict {
            name: "crossings_per_io",
            circumstances: at(depth),
            value: sample(depth).map(Sample::crossings_per_io),
            aim: Aim::AtMost(0.0),
            reason: "a read that no mirror answers, or one beside a posted write of another vCPU, is a crossing".to_owned(),
        });
    }
    for (depth, least) in [(16, 1.2), (1, 0.9)] {
        let switches = |front| {
            let sample = found.cells.get(&cell(front, depth));
            sample.map_or(f64::NAN, Sample::context_switches_per_io)
        };
        verdicts.push(Verdict {
            name: "iops_ring_vs_in_process",
            circumstances: at(depth),
            value: found.over_in_process(cell(Front::Ring, depth)).and_then(finite),
            aim: Aim::AtLeast(least),
            reason: format!(
                "{:.2} exits and {:.2} context switches per request, {:.2} switches in the VMM's process",
                sample(depth).map_or(f64::NAN, Sample::exits_per_io),
                switches(Front::Ring),
                switches(Front::InProcess),
            ),
        });
    }
    verdicts.push(Verdict {
        name: "syscalls_per_io",
        circumstances: at(16),
        value: found.system_calls.get(&(setting, 16)).copied(),
        aim: Aim::AtMost(0.5),
        reason: if found.counter.is_none() {
            "neither perf's tracepoint nor strace works here".to_owned()
        } else {
            "an interrupt is a system call at the trigger and one at its end; a worker that sleeps between requests makes more".to_owned()
        },
    });
    verdicts.push(Verdict {
        name: "context_switches_per_io",
        circumstances: at(16),
        value: sample(16).map(Sample::context_switches_per_io),
        aim: Aim::AtMost(0.1),
        reason:
            "a vCPU or a worker sleeps between requests: they come further apart than a wake costs"
                .to_owned(),
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
            reason: "because".to_owned(),
        };
        let met = verdict(Some(1.5), Aim::AtMost(1.5));
        assert_eq!((met.word(), met.why()), ("met", ""));
        let missed = verdict(Some(1.1), Aim::AtLeast(1.2));
        assert_eq!((missed.word(), missed.why()), ("missed", "because"));
        let absent = verdict(None, Aim::AtLeast(1.2));
        assert_eq!((absent.word(), absent.why()), ("not measured", "because"));
    }
}
