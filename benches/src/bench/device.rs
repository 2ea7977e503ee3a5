//! How long the device's own work takes. Its instructions are counted in `benches/counts.rs`.

use std::time::Duration;

use anyhow::Result;

use super::clock::time;
use super::cpus::Cpus;
use crate::cdbs;
use crate::chip::{Chip, INSTRUCTIONS, Queue, REQUESTS};

/// One piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// 1024 SCRIPTS instructions.
    Scripts,
    /// The parse of each typical CDB.
    Parse,
    /// TEST UNIT READY: selection, message, command parse, status.
    TestUnitReady,
    /// READ (10) of 4 KiB from memory into guest RAM.
    Read,
    /// The same from a driver's start queue to its done queue, by its SCRIPTS, sixteen at once.
    Queue,
}

impl Work {
    pub(crate) const ALL: [Self; 5] = [
        Self::Scripts,
        Self::Parse,
        Self::TestUnitReady,
        Self::Read,
        Self::Queue,
    ];

    /// What one of it is, for people.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Scripts => "SCRIPTS instruction",
            Self::Parse => "parse of a CDB",
            Self::TestUnitReady => "TEST UNIT READY",
            Self::Read => "READ (10), 4 KiB",
            Self::Queue => "the same, queued",
        }
    }

    /// So many are done in one go.
    const fn pieces(self) -> f64 {
        match self {
            Self::Scripts => INSTRUCTIONS as f64,
            Self::Parse => cdbs::TYPICAL.len() as f64,
            Self::Queue => REQUESTS as f64,
            Self::TestUnitReady | Self::Read => 1.0,
        }
    }
}

/// What one piece costs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) work: Work,
    pub(crate) nanoseconds: f64,
}

const BUDGET: Duration = Duration::from_millis(300);

/// Measures each piece of work.
pub(crate) fn measure(cpus: Cpus, mut say: impl FnMut(&str)) -> Result<Vec<Found>> {
    Work::ALL
        .into_iter()
        .map(|work| {
            say(&format!("device, {}", work.name()));
            let timed = cpus.alone(|| {
                let mut chip = Chip::new()?;
                let mut queue = Queue::new()?;
                match work {
                    Work::Scripts => chip.prepare_scripts()?,
                    Work::Parse | Work::Queue => {}
                    Work::TestUnitReady => chip.prepare_test_unit_ready()?,
                    Work::Read => chip.prepare_read()?,
                }
                time(BUDGET, || match work {
                    Work::Scripts => chip.scripts(),
                    Work::Parse => {
                        for cdb in cdbs::TYPICAL {
                            let _ = cdbs::parse(cdb);
                        }
                        Ok(())
                    }
                    Work::TestUnitReady | Work::Read => chip.command(),
                    Work::Queue => queue.run(),
                })
            })?;
            Ok(Found {
                work,
                nanoseconds: timed.nanoseconds / work.pieces(),
            })
        })
        .collect()
}
