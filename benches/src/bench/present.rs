//! Tables for people, and the same figures for the report.

use std::collections::BTreeMap;

use comfy_table::Table;
use serde_json::{Value, json};

use super::clock::median;
use super::device;
use super::disk::{Backend, Cell, DEPTHS, Found as Disk, Setting};
use super::path;
use super::transport::{Found as Transport, Stream};
use super::verdict::Verdict;
use crate::counts::{self, Row};
use crate::front::Front;
use crate::report::{Measure, Report};
use crate::table::{fitted, table};

fn add(
    report: &mut Report,
    name: &'static str,
    value: f64,
    unit: &'static str,
    context: &[(&'static str, Value)],
) {
    report.measures.push(Measure {
        name,
        value,
        unit,
        context: BTreeMap::from_iter(context.iter().cloned()),
    });
}

/// How steady L was: the smallest, the middle and the greatest probe.
pub(super) fn line(lines: &[f64], report: &mut Report) -> String {
    let mut sorted = lines.to_vec();
    let middle = median(&mut sorted);
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else {
        return "L: not probed, as it needs two CPUs".to_owned();
    };
    let at = |tenth: usize| {
        sorted
            .get(sorted.len() * tenth / 10)
            .copied()
            .unwrap_or(middle)
    };
    add(
        report,
        "L",
        middle,
        "ns",
        &[
            ("least", json!(least)),
            ("most", json!(most)),
            ("p10", json!(at(1))),
            ("p90", json!(at(9))),
            ("probes", json!(lines.len())),
        ],
    );
    let steady = if at(9) <= 1.25 * at(1) {
        "steady"
    } else {
        "not steady: other load, or the host moves its CPUs; trust ratios only"
    };
    format!(
        "L (a cache line there and back), {} probes: median {middle:.1} ns, p10 {:.1}, p90 {:.1}, {least:.1} to {most:.1}: {steady}",
        lines.len(),
        at(1),
        at(9),
    )
}

/// Round trips and streams.
pub(super) fn transport(found: &Transport, report: &mut Report) -> Vec<Table> {
    let mut trips = table(
        &[
            "round trip",
            "waits",
            "where",
            "ns",
            "× L",
            "p50",
            "p99",
            "p99.9",
        ],
        3,
    );
    for (trip, figures, timed) in &found.trips {
        let tail = |share| timed.as_ref().map_or(0, |timed| timed.quantile(share));
        trips.add_row([
            trip.peer.to_string(),
            trip.waiting.to_string(),
            trip.place.to_string(),
            format!("{:.0}", figures.median()),
            format!("{:.2}", figures.over_line()),
            tail(0.5).to_string(),
            tail(0.99).to_string(),
            tail(0.999).to_string(),
        ]);
        let context = [
            ("peer", json!(trip.peer.to_string())),
            ("waiting", json!(trip.waiting.to_string())),
            ("place", json!(trip.place.to_string())),
            ("over_L", json!(figures.over_line())),
            ("p50", json!(tail(0.5))),
            ("p99", json!(tail(0.99))),
            ("p999", json!(tail(0.999))),
            ("rounds", json!(figures.values)),
        ];
        add(report, "round_trip", figures.median(), "ns", &context);
    }
    let mut streams = table(&["one way", "million/s", "of the limit"], 1);
    for (stream, figures) in &found.streams {
        let part = found
            .stream(Stream::LineLimit)
            .map_or(f64::NAN, |limit| limit.times_faster_than(figures));
        streams.add_row([
            stream.to_string(),
            format!("{:.1}", figures.median() / 1e6),
            format!("{part:.2}"),
        ]);
        let context = [
            ("stream", json!(stream.to_string())),
            ("of_limit", json!(part)),
            ("rounds", json!(figures.values)),
        ];
        add(
            report,
            "messages_per_second",
            figures.median(),
            "1/s",
            &context,
        );
    }
    vec![trips, streams]
}

/// The device's own work.
pub(super) fn device(found: &[device::Found], report: &mut Report) -> Vec<Table> {
    let mut table = table(&["device alone", "ns", "million/s"], 1);
    for device::Found { work, nanoseconds } in found {
        table.add_row([
            work.name().to_owned(),
            format!("{nanoseconds:.1}"),
            format!("{:.3}", 1e3 / nanoseconds),
        ]);
        let context = [("work", json!(work.name()))];
        add(report, "device_work", *nanoseconds, "ns", &context);
    }
    vec![table]
}

/// What was counted, beside the record.
pub(super) fn counts(rows: &[Row<'_>], report: &mut Report) -> Table {
    for row in rows {
        #[expect(
            clippy::cast_precision_loss,
            reason = "far fewer than 2^52 instructions"
        )]
        if let Some(count) = row.now {
            let context = [("work", json!(row.name)), ("recorded", json!(row.recorded))];
            add(report, "instructions", count as f64, "1", &context);
        }
    }
    counts::compared(rows)
}

/// A guest's accesses.
pub(super) fn path(found: &[path::Found], report: &mut Report) -> Vec<Table> {
    let mut table = table(
        &[
            "guest access (KVM)",
            "answered by",
            "ns",
            "added ns",
            "of the exit",
            "p99",
        ],
        2,
    );
    for figure in found {
        let nanoseconds = median(&mut figure.nanoseconds.clone());
        let exit = found
            .iter()
            .find(|other| other.act == figure.act && other.front.is_none())
            .map_or(f64::NAN, |exit| median(&mut exit.nanoseconds.clone()));
        let by = figure.front.map_or_else(
            || "nothing: the exit alone".to_owned(),
            |front| front.to_string(),
        );
        let added = nanoseconds - exit;
        let p99 = figure.last.as_ref().map_or(0, |timed| timed.quantile(0.99));
        table.add_row([
            figure.act.name().to_owned(),
            by.clone(),
            format!("{nanoseconds:.0}"),
            format!("{added:.0}"),
            format!("{:.2}", added / exit),
            p99.to_string(),
        ]);
        let context = [
            ("access", json!(figure.act.name())),
            ("front", json!(by)),
            ("added", json!(added)),
            ("p99", json!(p99)),
            ("rounds", json!(figure.nanoseconds)),
        ];
        add(report, "guest_access", nanoseconds, "ns", &context);
    }
    vec![table]
}

/// The disk: IOPS by front, and what they cost.
pub(super) fn disk(found: &Disk, report: &mut Report) -> Vec<Table> {
    let mut tables: BTreeMap<Setting, Table> = BTreeMap::new();
    for (&cell, sample) in &found.cells {
        let Cell {
            setting,
            devices,
            vcpus,
            depth,
            front,
        } = cell;
        let over = found.over_in_process(cell).unwrap_or(f64::NAN);
        let table = tables.entry(setting).or_insert_with(|| {
            let title = format!("4 KiB reads,\n{setting}");
            table(
                &[
                    "de-\nvices",
                    "vCPUs",
                    "QD",
                    &title,
                    "IOPS",
                    "÷ in-\nprocess",
                    "crossings\n/IO",
                    "exits\n/IO",
                    "CSW\n/IO",
                    "device\nµs/IO",
                    "spun\nµs/IO",
                ],
                4,
            )
        });
        table.add_row([
            devices.to_string(),
            vcpus.to_string(),
            depth.to_string(),
            front.to_string(),
            format!("{:.0}", sample.median_iops()),
            format!("{over:.2}"),
            format!("{:.2}", sample.crossings_per_io()),
            format!("{:.2}", sample.exits_per_io()),
            format!("{:.2}", sample.context_switches_per_io()),
            format!("{:.1}", sample.device_microseconds_per_io()),
            format!("{:.1}", sample.spin_microseconds_per_io()),
        ]);
        let context = [
            ("front", json!(front.to_string())),
            ("backend", json!(setting.backend.to_string())),
            ("vcpu", json!(setting.vcpu().to_string())),
            ("devices", json!(devices)),
            ("vcpus", json!(vcpus)),
            ("qd", json!(depth)),
            ("over_in_process", json!(over)),
            ("crossings_per_io", json!(sample.crossings_per_io())),
            ("exits_per_io", json!(sample.exits_per_io())),
            (
                "context_switches_per_io",
                json!(sample.context_switches_per_io()),
            ),
            (
                "device_microseconds_per_io",
                json!(sample.device_microseconds_per_io()),
            ),
            (
                "spin_microseconds_per_io",
                json!(sample.spin_microseconds_per_io()),
            ),
            ("rounds", json!(sample.iops)),
        ];
        add(report, "iops", sample.median_iops(), "1/s", &context);
    }
    let by = found.counter.map_or("", super::system_calls::Counter::name);
    for ((setting, depth), count) in &found.system_calls {
        let context = [
            ("vcpu", json!(setting.vcpu().to_string())),
            ("qd", json!(depth)),
            ("counted_by", json!(by)),
        ];
        add(report, "emulator_syscalls_per_io", *count, "1", &context);
    }
    tables.into_values().collect()
}

/// IOPS by queue depth on the memory backend, for the plot: under KVM, or what there is.
pub(super) fn iops_lines(found: &Disk) -> Vec<(String, Vec<(f64, f64)>)> {
    let of = |software, front| {
        let setting = Setting {
            backend: Backend::Memory,
            software,
        };
        let points = DEPTHS.into_iter().filter_map(move |depth| {
            let cell = Cell {
                setting,
                devices: 1,
                vcpus: 1,
                depth,
                front,
            };
            let sample = found.cells.get(&cell)?;
            Some((f64::from(depth), sample.median_iops()))
        });
        let line = format!("{front}, {} vCPU", setting.vcpu());
        (line, points.collect())
    };
    let kvm = found.cells.keys().any(|cell| !cell.setting.software);
    Front::ALL.map(|front| of(!kvm, front)).into()
}

/// The aims, and below them where those that are missed are lost.
pub(super) fn verdicts(verdicts: &[Verdict], report: &mut Report) -> String {
    let mut table = table(&["measure", "circumstances", "verdict", "value", "aim"], 3);
    let mut lost = String::new();
    for verdict in verdicts {
        let value = verdict.value.unwrap_or(f64::NAN);
        table.add_row([
            verdict.name.to_owned(),
            verdict.circumstances.clone(),
            verdict.word().to_owned(),
            verdict
                .value
                .map_or_else(|| "-".to_owned(), |value| format!("{value:.3}")),
            verdict.aim.to_string(),
        ]);
        if !verdict.why().is_empty() {
            let line = [verdict.name, verdict.circumstances.as_str(), verdict.word()].join(", ");
            lost = format!("{lost}\n{line}: {}", verdict.why());
        }
        let context = [
            ("circumstances", json!(verdict.circumstances)),
            ("aim", json!(verdict.aim.to_string())),
            ("verdict", json!(verdict.word())),
            ("reason", json!(verdict.why())),
        ];
        add(report, verdict.name, value, "ratio or count", &context);
    }
    format!("{}{lost}", fitted(&table))
}
