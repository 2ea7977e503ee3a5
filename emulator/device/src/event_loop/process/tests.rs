//! A worker that panics, and the one beside it.

use std::os::unix::net::UnixStream;

use outrigger_vfio_user::{
    Message, Received, Receiver, RegionData, RegionRange, Reply, Request, Version, Wait, send,
};

use super::*;
use crate::device::{Bar, BarKind, Context, Device, Identity, Mirror, Progress, Width};
use crate::front::{Endpoint, Export};
use crate::pci::Function;

/// Panics at a write.
#[derive(Debug)]
struct Panicky;

impl Device for Panicky {
    fn identity(&self) -> Identity {
        Identity {
            vendor: 0x1000,
            device: 0x12,
            revision: 0,
            class: 0x01_00_00,
            subsystem_vendor: 0,
            subsystem: 0,
            interrupt_pin: 1,
            latency_timer: 0,
            min_gnt: 0,
            max_lat: 0,
        }
    }

    fn bars(&self) -> &[Bar] {
        &[Bar {
            index: 1,
            kind: BarKind::Memory,
            size: 0x400,
        }]
    }

    fn read(&mut self, _: &mut Context<'_>, _: u8, _: u64, _: Width) -> u64 {
        7
    }

    fn write(&mut self, _: &mut Context<'_>, _: u8, _: u64, _: Width, _: u64) {
        panic!("on purpose");
    }

    fn bar_moved(&mut self, _: u8, _: Option<u64>) {}

    fn run(&mut self, _: &mut Context<'_>, _: &mut dyn Mirror) -> Progress {
        Progress::Idle
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn interrupt(&self) -> bool {
        false
    }

    fn reset(&mut self, _: &mut Context<'_>) {}

    fn quiesce(&mut self, _: &mut Context<'_>) {}

    fn wake_fds(&self) -> Vec<std::os::fd::BorrowedFd<'_>> {
        Vec::new()
    }
}

/// A connected client.
struct Client(UnixStream, Receiver);

impl Client {
    /// The reply; `None` at the connection's end.
    fn ask(&mut self, request: &Request<'_>) -> Option<Vec<u8>> {
        send(&self.0, &request.emit(1, false), &[]).ok()?;
        match self.1.receive(&self.0, Wait::AsSocket) {
            Ok(Received::Message { bytes, .. }) => Some(bytes),
            _ => None,
        }
    }

    fn reads(&mut self) -> bool {
        let range = RegionRange {
            region: 1,
            offset: 0,
            count: 1,
        };
        let Some(bytes) = self.ask(&Request::RegionRead(range)) else {
            return false;
        };
        let reply = Reply::parse(Message::new(&bytes).unwrap()).unwrap();
        matches!(reply, Reply::RegionRead(RegionData { data: [7], .. }))
    }
}

/// Its device is gone, the process says so at its end, and until then the others are served.
#[test]
fn a_worker_that_panics_leaves_the_others_alone() {
    let signals = Signals::catch().unwrap();
    let (workers, mut clients): (Vec<_>, Vec<_>) = ["bad", "good"]
        .map(|name| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            theirs.set_nonblocking(true).unwrap();
            let export = Export::new(Endpoint::Connected(theirs.into()), name.to_owned());
            let function = Function::new(Box::new(Panicky));
            let worker = Worker::new(name.to_owned(), function, export).unwrap();
            (worker, Client(ours, Receiver::new(1 << 16)))
        })
        .into_iter()
        .unzip();
    let outcome = thread::scope(|scope| {
        scope.spawn(move || {
            let version = Version {
                major: 0,
                minor: 1,
                data: b"",
            };
            for client in &mut clients {
                client.ask(&Request::Version(version)).unwrap();
                assert!(client.reads());
            }
            let write = RegionData {
                region: 1,
                offset: 0,
                data: &[1],
            };
            assert_eq!(clients[0].ask(&Request::RegionWrite(write)), None);
            for _ in 0..100 {
                assert!(clients[1].reads());
            }
        });
        let close = || Ok::<_, Failure>(());
        serve(workers, &signals, Duration::ZERO, close, || ())
    });
    assert!(matches!(outcome, Err(Failure::Panicked(name)) if name == "bad"));
}
