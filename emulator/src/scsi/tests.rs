//! A bus over test RAM and real backends, driven as an initiator drives it.

mod abort;
mod basics;
mod chaos;
mod commands;
mod data_path;
mod identification;
mod image;
mod mode;
mod queue;

use super::{Attribute, Bus, Disk, DiskOptions, Nexus, TaskId, Want};
use crate::block::Backend;
use crate::dma::{Gate, fixture};

/// Guest RAM in the rig.
const RAM: u64 = 4 << 20;

/// A bus with its guest RAM.
struct Rig {
    bus: Bus,
    dma: Gate,
}

/// A command's end.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u8,
    data: Vec<u8>,
}

const NEXUS: Nexus = Nexus {
    target: 0,
    lun: 0,
    tag: None,
};

impl Rig {
    /// A disk at target 0, LUN 0; its unit attention has been taken.
    fn new(backend: Backend) -> Self {
        Self::with_options(backend, DiskOptions::default())
    }

    fn with_options(backend: Backend, options: DiskOptions) -> Self {
        let mut rig = Self::fresh(backend, options);
        assert_eq!(rig.run(&[0; 6]).status, 2);
        rig
    }

    /// The same, just powered on.
    fn fresh(backend: Backend, options: DiskOptions) -> Self {
        let mut bus = Bus::new();
        bus.attach(0, 0, Disk::new(backend, options).expect("a disk").into())
            .expect("a place");
        let dma = fixture::gate(&[(0, RAM)]);
        Self { bus, dma }
    }

    /// A disk of zeroes with this many blocks.
    fn blank(blocks: usize) -> Self {
        Self::new(Backend::memory(vec![0; blocks * 512], false))
    }

    /// Runs a command; data go to or come from guest RAM at 0.
    fn run(&mut self, cdb: &[u8]) -> Outcome {
        self.run_at(NEXUS, cdb)
    }

    fn run_out(&mut self, cdb: &[u8], data: &[u8]) -> Outcome {
        self.dma.write(0, data).expect("RAM");
        self.run(cdb)
    }

    fn run_at(&mut self, nexus: Nexus, cdb: &[u8]) -> Outcome {
        let task = self.bus.begin(nexus, Attribute::Simple, cdb);
        self.finish(task)
    }

    /// Takes a task that needs no waiting to its end.
    fn finish(&mut self, task: TaskId) -> Outcome {
        let mut data = Vec::new();
        for _ in 0..10_000 {
            match self.bus.want(task) {
                Want::DataIn(count) => {
                    self.bus.transfer(&self.dma, task, 0, count).expect("RAM");
                    data.resize(count as usize, 0);
                }
                Want::DataOut(count) => self.bus.transfer(&self.dma, task, 0, count).expect("RAM"),
                Want::Status(status) => {
                    self.bus.finish(task);
                    assert_eq!(self.bus.want(task), Want::Gone);
                    if status == 0 {
                        self.dma.read(0, &mut data).expect("RAM");
                    } else {
                        data.clear();
                    }
                    return Outcome { status, data };
                }
                Want::Wait => {
                    self.bus.kick();
                    self.bus.poll(std::time::Instant::now());
                }
                Want::Gone => panic!("the task has gone"),
            }
        }
        panic!("the task does not end");
    }

    /// The data of a command that must succeed.
    fn data(&mut self, cdb: &[u8]) -> Vec<u8> {
        let outcome = self.run(cdb);
        assert_eq!(outcome.status, 0, "{cdb:02x?}");
        outcome.data
    }

    /// The fixed-format sense of a command that must fail.
    fn sense(&mut self, cdb: &[u8]) -> Vec<u8> {
        assert_eq!(self.run(cdb).status, 2, "{cdb:02x?}");
        self.data(&[0x03, 0, 0, 0, 252, 0])
    }
}
