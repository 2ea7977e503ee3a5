//! The fake's end of the rings: a worker thread that serves them until the connection is over.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, spawn, yield_now};

use outrigger_ring::{Geometry, Request, Server, ServerSetup};
use outrigger_vfio_user::{AccessEntry, AccessMap, RingDoorbells, RingReady, RingSetup, Treatment};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};

use crate::device::Device;

/// Rings that are being attached, then served.
#[derive(Debug, Default)]
pub(super) struct Rings {
    setup: Option<ServerSetup>,
    stop: Arc<AtomicBool>,
    worker: Option<JoinHandle<()>>,
}

impl Rings {
    pub(super) fn set_up(
        &mut self,
        request: RingSetup,
        fds: &[OwnedFd],
    ) -> (RingReady, Vec<OwnedFd>) {
        let [requests, mailboxes] = fds else {
            panic!("{fds:?}")
        };
        let geometry = Geometry::new(request.channels, request.slots).unwrap();
        let own = |fd: &OwnedFd| fd.try_clone().unwrap();
        let setup = ServerSetup::new(geometry, own(requests), own(mailboxes), 0).unwrap();
        let fds =
            [setup.device(), setup.doorbell()].map(|fd| fd.as_fd().try_clone_to_owned().unwrap());
        self.setup = Some(setup);
        (
            RingReady {
                version: 1,
                mirror_bytes: 0,
            },
            fds.into(),
        )
    }

    pub(super) fn add_doorbells(
        &mut self,
        request: RingDoorbells,
        fds: &[OwnedFd],
        device: &Arc<Mutex<Device>>,
        serves: Option<usize>,
    ) {
        let mut setup = self.setup.take().unwrap();
        assert_eq!(u32::try_from(fds.len()).unwrap(), request.count);
        let fds = fds.iter().map(|fd| fd.try_clone().unwrap()).collect();
        setup.add_doorbells(request.first, fds).unwrap();
        if setup.is_complete() {
            let server = setup.finish().unwrap();
            let (device, stop) = (Arc::clone(device), Arc::clone(&self.stop));
            self.worker = Some(spawn(move || work(server, &device, &stop, serves)));
        } else {
            self.setup = Some(setup);
        }
    }
}

/// Region 2 is memory, or what `entries` say; and a memory for it, which is not what the fake answers accesses from.
pub(super) fn access_map(size: u64, entries: Option<&[AccessEntry]>) -> (Vec<u8>, Vec<OwnedFd>) {
    let entry = AccessEntry {
        region: 2,
        offset: 0,
        size,
        treatment: Treatment::Memory { descriptor: 0 },
    };
    let file = memfd_create("fake", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&file, size).unwrap();
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&file, seals).unwrap();
    (AccessMap::encode(entries.unwrap_or(&[entry])), vec![file])
}

/// Serves so many accesses, then none.
fn work(mut server: Server, device: &Mutex<Device>, stop: &AtomicBool, serves: Option<usize>) {
    let mut served = 0;
    while !stop.load(Ordering::Relaxed) {
        if serves.is_some_and(|most| served >= most) {
            yield_now();
            continue;
        }
        let turn = server.turn(|request| {
            served += 1;
            let mut device = device.lock().unwrap();
            let access = request.access();
            let (region, count) = (access.region.into(), usize::from(access.width.bytes()));
            match request {
                Request::Read(_) => {
                    let mut value = [0; 8];
                    if let Some(bytes) = device.bytes(region, access.offset, count) {
                        value[..count].copy_from_slice(bytes);
                    }
                    u64::from_le_bytes(value)
                }
                Request::Write(_, value) => {
                    device.write(region, access.offset, &value.to_le_bytes()[..count], false);
                    0
                }
            }
        });
        if !turn.unwrap() {
            yield_now();
        }
    }
}

impl Drop for Rings {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(worker) = self.worker.take() {
            worker.join().unwrap();
        }
    }
}
