//! Queues within a process, as peers: rtrb and crossbeam's `ArrayQueue`, 64-byte messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use crossbeam_queue::ArrayQueue;
use rtrb::RingBuffer;

use super::ring::Leaving;
use crate::bench::clock::{Timed, time};
use crate::bench::cpus::{Cpus, Place};
use crate::bench::line::paced;

type Message = [u64; 8];

const SLOTS: usize = 256;

/// Ping-pong over two rtrb rings, both ends spin.
pub(super) fn rtrb(cpus: Cpus, budget: Duration) -> Result<Timed> {
    let (mut ask, mut asked) = RingBuffer::<Message>::new(SLOTS);
    let (mut answer, mut answered) = RingBuffer::<Message>::new(SLOTS);
    cpus.pair(
        Place::TwoCpus,
        move || {
            loop {
                let message = paced(|| match asked.pop() {
                    Ok(message) => Some(Some(message)),
                    Err(_) if asked.is_abandoned() => Some(None),
                    Err(_) => None,
                });
                let Some(message) = message else {
                    return Ok(());
                };
                paced(|| answer.push(message).ok());
            }
        },
        move || {
            time(budget, || {
                paced(|| ask.push([7; 8]).ok());
                std::hint::black_box(paced(|| answered.pop().ok()));
                Ok(())
            })
        },
    )
}

/// rtrb one way: messages per second, `batch` of them per chunk.
pub(super) fn rtrb_one_way(cpus: Cpus, batch: usize, budget: Duration) -> Result<f64> {
    let (mut producer, mut consumer) = RingBuffer::<Message>::new(SLOTS);
    cpus.pair(
        Place::TwoCpus,
        move || {
            loop {
                let slots = consumer.slots();
                if slots == 0 {
                    if consumer.is_abandoned() {
                        return Ok(());
                    }
                    continue;
                }
                for message in consumer.read_chunk(slots)? {
                    std::hint::black_box(message);
                }
            }
        },
        move || {
            let start = Instant::now();
            let mut sent = 0_u64;
            while start.elapsed() < budget {
                for _ in 0..64 {
                    while producer.slots() < batch {}
                    let chunk = producer.write_chunk_uninit(batch)?;
                    sent += chunk.fill_from_iter(std::iter::repeat([7; 8])) as u64;
                }
            }
            while producer.slots() < SLOTS {}
            #[expect(clippy::cast_precision_loss, reason = "messages of a short run")]
            Ok(sent as f64 / start.elapsed().as_secs_f64())
        },
    )
}

/// Ping-pong over two `ArrayQueue`s, both ends spin.
pub(super) fn array_queue(cpus: Cpus, budget: Duration) -> Result<Timed> {
    let ask = &ArrayQueue::<Message>::new(SLOTS);
    let answer = &ArrayQueue::<Message>::new(SLOTS);
    let stop = &AtomicBool::new(false);
    cpus.pair(
        Place::TwoCpus,
        move || {
            loop {
                let message = paced(|| match ask.pop() {
                    Some(message) => Some(Some(message)),
                    None if stop.load(Ordering::Acquire) => Some(None),
                    None => None,
                });
                let Some(message) = message else {
                    return Ok(());
                };
                paced(|| answer.push(message).ok());
            }
        },
        move || {
            let _leaving = Leaving(stop);
            time(budget, || {
                paced(|| ask.push([7; 8]).ok());
                std::hint::black_box(paced(|| answer.pop()));
                Ok(())
            })
        },
    )
}
