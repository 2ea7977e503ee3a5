//! The pictures, as SVG: access latency by percentile, and IOPS by queue depth.

use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context as _, Result};
use outrigger_vmm::LatencyHistogram;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::coord::{CoordTranslate, Shift};
use plotters::element::DashedPathElement;
use plotters::prelude::*;

/// A line of the plot.
#[derive(Debug)]
pub struct Series<'a> {
    /// Its name in the legend.
    pub name: String,
    /// Lines that belong together have the same colour: its number.
    pub colour: usize,
    /// Dashed, to tell it from another of its colour.
    pub dashed: bool,
    /// Latencies in nanoseconds.
    pub latency: &'a LatencyHistogram,
}

/// The percentiles that are drawn: `1 - 10^-x` for x in this range, so that 1 is p90, 2 is p99, 3 is p99.9.
const NINES: Range<f64> = 0.0..4.0;
const STEPS: u32 = 80;
/// Pixels of a dash, and between two.
const DASH: u32 = 6;
const GAP: u32 = 4;
/// Pixels at the right edge: half of the last label stands there.
const RIGHT: u32 = 40;
/// The vertical axis goes this far beyond the highest point: the legend stands there.
const ROOM: f64 = 1.5;
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
];

/// Draws the series to `path`.
///
/// # Errors
/// If the file cannot be written.
pub fn latency_by_percentile(path: &Path, title: &str, series: &[Series<'_>]) -> Result<()> {
    let area = canvas(path)?;
    let mut chart =
        frame(&area, title).build_cartesian_2d(Percentiles, bounds(series).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("share of accesses served faster")
        .y_desc("time to serve an access")
        .y_label_formatter(&|nanoseconds| duration_name(*nanoseconds))
        .light_line_style(WHITE)
        .draw()?;
    for series in series {
        let points = (0..=STEPS).map(|step| {
            let nines = f64::from(step) / f64::from(STEPS) * NINES.end;
            (nines, value_at(series.latency, nines))
        });
        let colour = COLOURS[series.colour % COLOURS.len()];
        let style = colour.stroke_width(2);
        let drawn = match series.dashed {
            true => chart.draw_series(DashedLineSeries::new(points, DASH, GAP, style))?,
            false => chart.draw_series(LineSeries::new(points, style))?,
        };
        let dashed = series.dashed;
        drawn
            .label(&series.name)
            .legend(move |at| sample(at, colour, dashed));
    }
    legend(&mut chart)?;
    present(&area, path)
}

/// Draws IOPS over queue depths to `path`, a line per name.
///
/// # Errors
/// If the file cannot be written.
pub fn iops_by_depth(path: &Path, title: &str, lines: &[(String, Vec<(f64, f64)>)]) -> Result<()> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let deepest = points().map(|point| point.0).fold(2.0, f64::max);
    let most = points().map(|point| point.1).fold(1.0, f64::max);
    let area = canvas(path)?;
    let mut chart = frame(&area, title)
        .build_cartesian_2d((1.0..deepest).log_scale().base(2.0), 0.0..most * ROOM)?;
    chart
        .configure_mesh()
        .x_desc("queue depth")
        .y_desc("requests per second")
        .x_label_formatter(&|depth| format!("{depth:.0}"))
        .y_label_formatter(&|iops| format!("{iops:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    for ((name, points), colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let colour = *colour;
        // The points are what was measured; the lines between them lead the eye.
        chart.draw_series(
            points
                .iter()
                .map(|point| Circle::new(*point, 3, colour.filled())),
        )?;
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                colour.stroke_width(2),
            ))?
            .label(name)
            .legend(move |at| sample(at, colour, false));
    }
    legend(&mut chart)?;
    present(&area, path)
}

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// An empty picture; makes the directory.
fn canvas(path: &Path) -> Result<Canvas<'_>> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
    }
    let area = SVGBackend::new(path, (880, 520)).into_drawing_area();
    area.fill(&WHITE)?;
    Ok(area)
}

/// Title, margins and room for the axes' labels.
fn frame<'a, 'b>(area: &'a Canvas<'b>, title: &str) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .margin_right(RIGHT)
        .x_label_area_size(44)
        .y_label_area_size(72);
    chart
}

/// A piece of a line for the legend.
fn sample(
    (x, y): (i32, i32),
    colour: RGBColor,
    dashed: bool,
) -> DashedPathElement<std::array::IntoIter<(i32, i32), 2>, u32> {
    const LENGTH: u32 = 2 * DASH + GAP + DASH;
    let (dash, gap) = if dashed { (DASH, GAP) } else { (LENGTH, 0) };
    let end = (x + LENGTH.cast_signed(), y);
    DashedPathElement::new([(x, y), end], dash, gap, colour.stroke_width(2))
}

fn legend<'a, C: CoordTranslate>(chart: &mut ChartContext<'a, SVGBackend<'a>, C>) -> Result<()> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(())
}

fn present(area: &Canvas<'_>, path: &Path) -> Result<()> {
    area.present()
        .with_context(|| format!("cannot write {}", path.display()))
}

/// The latency that a share of `1 - 10^-nines` stays under, at least 1 ns.
fn value_at(latency: &LatencyHistogram, nines: f64) -> f64 {
    let quantile = 1.0 - 10_f64.powf(-nines);
    to_f64(latency.quantile(quantile).max(1))
}

fn bounds(series: &[Series<'_>]) -> Range<f64> {
    let low = series
        .iter()
        .map(|series| value_at(series.latency, NINES.start))
        .fold(f64::INFINITY, f64::min);
    let high = series
        .iter()
        .map(|series| value_at(series.latency, NINES.end))
        .fold(1.0, f64::max);
    let low = if low.is_finite() { low } else { 1.0 };
    // Room for the legend above the lines.
    10_f64.powf(low.log10().floor())..(high * 20.0).max(low * 10.0)
}

/// The horizontal axis, with a tick for each percentile that people ask for.
#[derive(Clone, Debug)]
struct Percentiles;

/// Where each is: `-log10(1 - p)`.
const TICKS: [(f64, &str); 6] = [
    (0.0, "min"),
    (std::f64::consts::LOG10_2, "p50"),
    (1.0, "p90"),
    (2.0, "p99"),
    (3.0, "p99.9"),
    (4.0, "p99.99"),
];

impl Ranged for Percentiles {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, nines: &f64, limits: (i32, i32)) -> i32 {
        RangedCoordf64::from(NINES).map(nines, limits)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight().allow_light_points() {
            true => Vec::new(),
            false => TICKS.map(|(nines, _)| nines).into(),
        }
    }

    fn range(&self) -> Range<f64> {
        NINES
    }
}

impl ValueFormatter<f64> for Percentiles {
    fn format(nines: &f64) -> String {
        let same = |tick: &&(f64, &str)| (tick.0 - nines).abs() < 1e-6;
        let name = TICKS.iter().find(same).map(|(_, name)| *name);
        name.unwrap_or_default().to_owned()
    }
}

fn duration_name(nanoseconds: f64) -> String {
    if nanoseconds < 1e3 {
        format!("{nanoseconds:.0} ns")
    } else if nanoseconds < 1e6 {
        format!("{:.0} µs", nanoseconds / 1e3)
    } else {
        format!("{:.0} ms", nanoseconds / 1e6)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "latencies are far below 2^52 ns"
)]
fn to_f64(nanoseconds: u64) -> f64 {
    nanoseconds as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_front_has_one_colour_and_every_percentile_a_tick() {
        let mut latency = LatencyHistogram::default();
        (1..1000).for_each(|it| latency.record(std::time::Duration::from_nanos(it)));
        let line = |colour, dashed| Series {
            name: format!("front {colour}, dashed {dashed}"),
            colour,
            dashed,
            latency: &latency,
        };
        let series = [(0, false), (0, true), (1, false)].map(|(c, dashed)| line(c, dashed));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plot.svg");
        latency_by_percentile(&path, "a title", &series).unwrap();
        let svg = fs::read_to_string(path).unwrap();
        for (_, name) in TICKS {
            assert!(svg.contains(&format!("\n{name}\n")), "{name}");
        }
        let lines = |colour: &str| {
            let stroke = format!("stroke=\"{colour}\"");
            svg.matches(&stroke).count()
        };
        // One line and its sample; a dashed one is in pieces.
        assert_eq!(lines("#D55E00"), 2);
        assert!(lines("#0072B2") > 6);
        assert_eq!(lines("#009E73"), 0);
    }
}
