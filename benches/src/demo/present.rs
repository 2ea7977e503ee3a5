//! What people see: one line per step, a progress bar at a terminal, the table, the plot.

use anyhow::Result;
use comfy_table::Table;
use outrigger_vmm::{VcpuKind, kvm_unavailable};

use super::Options;
use super::measure::{DEPTHS, Samples};
use crate::front::{Attached, Front};
use crate::image::Image;
use crate::narrator::Narrator;
use crate::plot::{Series, latency_by_percentile};
use crate::report::Report;
use crate::table::{fitted, table};

impl Narrator {
    pub(super) fn disk(&self, image: &Image) {
        let sha256: String = image
            .sha256
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.say(&format!(
            "disk: {} MiB, {}, sha256 {sha256}…",
            image.bytes >> 20,
            image.contents
        ));
    }

    pub(super) fn machines(&self, attached: &[Attached]) {
        for guest in attached {
            self.say(&format!("{}: {}", guest.front, guest.place()));
        }
        match attached.first().map(|guest| guest.vcpu) {
            Some(VcpuKind::Software) => {
                self.say("guest: the driver as a software vCPU on a thread, without KVM");
                if let Some(reason) = kvm_unavailable() {
                    self.say(&format!("       {reason}"));
                }
            }
            _ => self.say("guest: a bare-metal driver under KVM"),
        }
    }

    pub(super) fn round(&self, round: usize, rounds: usize, front: Front) {
        self.say(&format!(
            "round {} of {rounds}: 4 KiB random reads over {front}",
            round + 1
        ));
    }

    /// Notes a check and tells of it.
    pub(super) fn checked(&self, report: &mut Report, name: String, held: bool) {
        self.say(&format!(
            "{} {name}",
            if held { "ok    " } else { "FAILED" }
        ));
        report.check(name, held);
    }
}

/// Prints the table, then writes report and plot: if that fails, the table was seen.
pub(super) fn finish(
    narrator: &Narrator,
    options: &Options,
    samples: &Samples,
    report: &Report,
) -> Result<()> {
    if options.json {
        say!("{}", serde_json::to_string_pretty(report)?);
    }
    narrator.say(&format!("\n{}", fitted(&rows(samples))));
    narrator.say(LEGEND);
    if let Some(noise) = &report.noise {
        narrator.say(&noise.to_string());
    }
    let failed: Vec<&str> = report
        .checks
        .iter()
        .filter(|check| !check.ok)
        .map(|check| check.name.as_str())
        .collect();
    match failed.as_slice() {
        [] => narrator.say(&format!("all {} checks held", report.checks.len())),
        failed => narrator.say(&format!("FAILED: {}", failed.join("; "))),
    }
    let json = options.reports.join("demo.json");
    let svg = options.reports.join("demo.svg");
    report.write(&json)?;
    let series: Vec<Series<'_>> = samples
        .iter()
        .map(|(front, depth, sample)| Series {
            name: format!("{front}, QD {depth}"),
            colour: front as usize,
            dashed: depth != DEPTHS[0],
            latency: &sample.latency,
        })
        .collect();
    latency_by_percentile(
        &svg,
        "Serving one guest access, 4 KiB random reads",
        &series,
    )?;
    narrator.say(&format!("wrote {} and {}", json.display(), svg.display()));
    Ok(())
}

const LEGEND: &str = "\
access: time in the VMM to serve one register access, in µs
CSW: context switches of vCPUs and device together";

/// Narrow enough for 80 columns, also where the numbers are those of a busy machine.
const HEAD: [&str; 10] = [
    "front",
    "QD",
    "IOPS",
    "÷ in-\nprocess",
    "access\np50",
    "\np99",
    "\np99.9",
    "cross-\nings/IO",
    "exits\n/IO",
    "CSW\n/IO",
];

fn rows(samples: &Samples) -> Table {
    let mut table = table(&HEAD, 1);
    for (front, depth, sample) in samples.iter() {
        let latency = |quantile| microseconds(sample.latency.quantile(quantile));
        table.add_row([
            front.to_string(),
            depth.to_string(),
            format!("{:.0}", sample.median_iops()),
            format!("{:.2}", samples.over_in_process(depth, sample)),
            latency(0.5),
            latency(0.99),
            latency(0.999),
            format!("{:.2}", sample.crossings_per_io()),
            format!("{:.2}", sample.exits_per_io()),
            format!("{:.2}", sample.context_switches_per_io()),
        ]);
    }
    table
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of one access")]
fn microseconds(nanoseconds: u64) -> String {
    format!("{:.2}", nanoseconds as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::fit;

    #[test]
    fn no_word_breaks_at_80_columns() {
        let mut table = table(&HEAD, 1);
        table.add_row([
            "vfio-user",
            "16",
            "123456",
            "10.00",
            "1234.56",
            "1234.56",
            "12345.67",
            "10.00",
            "10.00",
            "10.00",
        ]);
        table.add_row([
            "in-process",
            "16",
            "1",
            "1.00",
            "0.00",
            "0.00",
            "0.00",
            "0.00",
            "0.00",
            "0.00",
        ]);
        let text = fit(&table, 80);
        for word in ["vfio-user", "in-process", "123456", "12345.67", "ings/IO"] {
            assert!(text.contains(word), "{word} in:\n{text}");
        }
    }
}
