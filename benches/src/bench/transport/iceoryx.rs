//! iceoryx2, as a peer: its two patterns, polled by both ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use iceoryx2::prelude::*;

use super::ring::Leaving;
use crate::bench::clock::{Timed, time};
use crate::bench::cpus::{Cpus, Place};
use crate::bench::line::paced;

type Message = [u64; 8];

/// Services live under /dev/shm by name: each run has names of its own.
fn name(what: &str) -> Result<ServiceName> {
    let name = format!("outrigger-bench/{}/{what}", std::process::id());
    Ok(name.as_str().try_into()?)
}

/// `None` while there is nothing; an error ends the poll.
fn polled<T, E: std::error::Error + Send + Sync + 'static>(
    received: std::result::Result<Option<T>, E>,
) -> Option<Result<T>> {
    received.map_err(anyhow::Error::from).transpose()
}

/// What comes next; `None` once the other end has left.
fn until<T, E: std::error::Error + Send + Sync + 'static>(
    stop: &AtomicBool,
    mut receive: impl FnMut() -> std::result::Result<Option<T>, E>,
) -> Result<Option<T>> {
    paced(|| match receive() {
        Ok(None) if stop.load(Ordering::Acquire) => Some(Ok(None)),
        received => polled(received).map(|received| received.map(Some)),
    })
}

fn wait_for(ready: &AtomicBool) {
    while !ready.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
}

/// Request and response.
pub(super) fn request_response(cpus: Cpus, budget: Duration) -> Result<Timed> {
    let name = &name("request-response")?;
    let stop = &AtomicBool::new(false);
    let ready = &AtomicBool::new(false);
    cpus.pair(
        Place::TwoCpus,
        move || {
            let node = NodeBuilder::new().create::<ipc::Service>()?;
            let service = node
                .service_builder(name)
                .request_response::<Message, Message>()
                .open_or_create()?;
            let server = service.server_builder().create()?;
            ready.store(true, Ordering::Release);
            while let Some(request) = until(stop, || server.receive())? {
                request.loan_uninit()?.write_payload([7; 8]).send()?;
            }
            Ok(())
        },
        move || {
            let _leaving = Leaving(stop);
            wait_for(ready);
            let node = NodeBuilder::new().create::<ipc::Service>()?;
            let service = node
                .service_builder(name)
                .request_response::<Message, Message>()
                .open_or_create()?;
            let client = service.client_builder().create()?;
            time(budget, || {
                let pending = client.loan_uninit()?.write_payload([7; 8]).send()?;
                let response = paced(|| polled(pending.receive()))?;
                std::hint::black_box(*response);
                Ok(())
            })
        },
    )
}

/// Publish and subscribe, a service each way.
pub(super) fn publish_subscribe(cpus: Cpus, budget: Duration) -> Result<Timed> {
    let there = &name("there")?;
    let back = &name("back")?;
    let stop = &AtomicBool::new(false);
    let ready = &AtomicBool::new(false);
    cpus.pair(
        Place::TwoCpus,
        move || {
            let node = NodeBuilder::new().create::<ipc::Service>()?;
            let service = |name| {
                node.service_builder(name)
                    .publish_subscribe::<Message>()
                    .open_or_create()
            };
            let subscriber = service(there)?.subscriber_builder().create()?;
            let publisher = service(back)?.publisher_builder().create()?;
            ready.store(true, Ordering::Release);
            while let Some(sample) = until(stop, || subscriber.receive())? {
                publisher.loan_uninit()?.write_payload(*sample).send()?;
            }
            Ok(())
        },
        move || {
            let _leaving = Leaving(stop);
            wait_for(ready);
            let node = NodeBuilder::new().create::<ipc::Service>()?;
            let service = |name| {
                node.service_builder(name)
                    .publish_subscribe::<Message>()
                    .open_or_create()
            };
            let subscriber = service(back)?.subscriber_builder().create()?;
            let publisher = service(there)?.publisher_builder().create()?;
            time(budget, || {
                publisher.loan_uninit()?.write_payload([7; 8]).send()?;
                let sample = paced(|| polled(subscriber.receive()))?;
                std::hint::black_box(*sample);
                Ok(())
            })
        },
    )
}
