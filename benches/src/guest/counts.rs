//! System calls per I/O.

use std::collections::BTreeMap;

use serde_json::json;

use super::Side;
use super::jobs::Job;
use crate::bench::system_calls::Counter;
use crate::report::{Measure, Report};

/// What one job cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) job: Job,
    pub(super) side: Side,
    pub(super) qemu_calls_per_io: f64,
    /// `None` where there is no emulator.
    pub(super) emulator_calls_per_io: Option<f64>,
}

impl Counts {
    /// Adds them to the report.
    pub(super) fn report(&self, counter: Counter, report: &mut Report) {
        let figures = [
            ("qemu_system_calls_per_io", Some(self.qemu_calls_per_io)),
            ("emulator_system_calls_per_io", self.emulator_calls_per_io),
        ];
        for (name, value) in figures {
            let Some(value) = value else { continue };
            report.measures.push(Measure {
                name,
                value,
                unit: "1",
                context: BTreeMap::from([
                    ("job", json!(self.job.pattern.name())),
                    ("qd", json!(self.job.depth)),
                    ("disk", json!(self.side.name())),
                    ("counter", json!(counter.name())),
                ]),
            });
        }
    }
}
