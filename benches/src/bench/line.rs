//! The machine's own limits: L, a cache line passed there and back, and how fast lines stream one way.
//!
//! The two ends are threads. For the hardware that is the same as two processes: coherence works on physical lines,
//! and no address space is switched while each end has a CPU to itself.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::clock::median;
use super::cpus::{Cpus, Place};

/// Trips per batch, and batches per probe.
const TRIPS: u64 = 500;
const BATCHES: u64 = 24;

/// Lines that neighbours write are a pair of lines apart, as processors fetch pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Pair(AtomicU64);

/// A line of its own within a pair.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line(AtomicU64);

/// Polls `ready` as the ring does: a fence after each look, so that looks do not pile up. Polled without a break, the line
/// travels slower.
pub(crate) fn paced<T>(mut ready: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = ready() {
            return found;
        }
        fence(Ordering::SeqCst);
    }
}

/// One probe of L, in nanoseconds there and back: the median batch at the better of two ways to poll.
pub(crate) fn round_trip(cpus: Cpus) -> Result<f64> {
    let pacing = one_probe(cpus, look_paced)?;
    let tight = one_probe(
        cpus,
        |ball, value| {
            while ball.load(Ordering::Acquire) != value {}
        },
    )?;
    Ok(pacing.min(tight))
}

/// How long so many trips there and back take, paced.
pub(crate) fn time_trips(cpus: Cpus, trips: u64) -> Result<Duration> {
    let mut begin = Instant::now();
    let mut end = begin;
    // The first trip waits for the other thread to start.
    bounce(cpus, trips + 1, look_paced, |trip| {
        end = Instant::now();
        if trip == 0 {
            begin = end;
        }
    })?;
    Ok(end - begin)
}

fn look_paced(ball: &AtomicU64, value: u64) {
    paced(|| (ball.load(Ordering::Acquire) == value).then_some(()));
}

fn one_probe(cpus: Cpus, wait: impl Fn(&AtomicU64, u64) + Copy + Send) -> Result<f64> {
    let mut means = Vec::new();
    let mut last = Instant::now();
    bounce(cpus, TRIPS * (BATCHES + 1), wait, |trip| {
        if trip % TRIPS == TRIPS - 1 {
            let now = Instant::now();
            #[expect(clippy::cast_precision_loss, reason = "a small constant")]
            means.push((now - last).as_secs_f64() * 1e9 / TRIPS as f64);
            last = now;
        }
    })?;
    // The first batch warms up.
    Ok(median(means.get_mut(1..).unwrap_or_default()))
}

/// Passes a line there and back so often; `after` is told of each trip.
fn bounce(
    cpus: Cpus,
    trips: u64,
    wait: impl Fn(&AtomicU64, u64) + Copy + Send,
    mut after: impl FnMut(u64) + Send,
) -> Result<()> {
    let ball = Pair::default();
    let ball = &ball.0;
    cpus.pair(
        Place::TwoCpus,
        move || {
            for trip in 0..trips {
                wait(ball, 2 * trip + 1);
                ball.store(2 * trip + 2, Ordering::Release);
            }
            Ok(())
        },
        move || {
            for trip in 0..trips {
                ball.store(2 * trip + 1, Ordering::Release);
                wait(ball, 2 * trip + 2);
                after(trip);
            }
            Ok(())
        },
    )
}

/// Bare lines per second, one way: each is stamped by one side and seen by the other, which says four times a lap
/// how far it is. The best of a short and a long ring, polled without a break and paced.
pub(crate) fn one_way(cpus: Cpus, budget: Duration) -> Result<f64> {
    let mut best = 0.0_f64;
    for lines in [256, 4096] {
        for pause in [false, true] {
            best = best.max(stream(cpus, lines, pause, budget / 4)?);
        }
    }
    Ok(best)
}

fn stream(cpus: Cpus, count: usize, pause: bool, budget: Duration) -> Result<f64> {
    let lines: Vec<Line> = (0..count).map(|_| Line::default()).collect();
    let consumed = Pair::default();
    let end = Pair::default();
    let (lines, consumed, end) = (&lines, &consumed.0, &end.0);
    let quarter = count / 4;
    cpus.pair(
        Place::TwoCpus,
        move || {
            let mut position = 0_u64;
            loop {
                for quarter in lines.chunks(quarter) {
                    for line in quarter {
                        while line.0.load(Ordering::Acquire) != position + 1 {
                            if end.load(Ordering::Relaxed) == position + 1 {
                                consumed.store(position, Ordering::Release);
                                return Ok(());
                            }
                            if pause {
                                // Lets the writer get ahead: a reader at its heels takes each line while it is written.
                                std::hint::black_box(Instant::now());
                            }
                        }
                        position += 1;
                    }
                    consumed.store(position, Ordering::Release);
                }
            }
        },
        move || {
            let start = Instant::now();
            let mut position = 0_u64;
            while start.elapsed() < budget {
                for quarter in lines.chunks(quarter) {
                    let room = position + quarter.len() as u64;
                    while room - consumed.load(Ordering::Acquire) > count as u64 {}
                    for line in quarter {
                        position += 1;
                        line.0.store(position, Ordering::Release);
                    }
                }
            }
            end.store(position + 1, Ordering::Relaxed);
            while consumed.load(Ordering::Acquire) != position {}
            #[expect(clippy::cast_precision_loss, reason = "lines of a short run")]
            Ok(position as f64 / start.elapsed().as_secs_f64())
        },
    )
}
