//! A bus over test RAM and real backends, driven as an initiator drives it.

mod abort;
mod basics;
mod block_length;
mod cdrom;
mod chaos;
mod commands;
mod data_path;
mod durable;
mod errors;
mod every_command;
mod held;
mod identification;
mod image;
mod mode;
mod primary;
mod queue;
mod reservations;
mod scsi2;
mod sense;
mod sense_model;

use rustix::event::{PollFd, PollFlags};

use super::{
    Attribute, Bus, Cdrom, CdromOptions, Disk, DiskOptions, ErrorPolicy, LogicalUnit, Nexus,
    TaskId, Want,
};
use outrigger_block::{Backend, FailRule, Failure, Op};
use outrigger_device::dma::{Gate, fixture};

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
        Self::of_unit(Disk::new(backend, options).expect("a disk").into())
    }

    /// Any unit at target 0, LUN 0, just powered on.
    fn of_unit(unit: LogicalUnit) -> Self {
        let mut bus = Bus::new();
        bus.attach(0, 0, unit).expect("a place");
        let dma = fixture::gate(&[(0, RAM)]);
        Self { bus, dma }
    }

    /// A CD-ROM drive; its unit attention has been taken.
    fn cdrom(backend: Option<Backend>) -> Self {
        let cdrom = Cdrom::new(backend, CdromOptions::default()).expect("a drive");
        let mut rig = Self::of_unit(cdrom.into());
        assert_eq!(rig.run(&[0; 6]).status, 2);
        rig
    }

    /// A disk of zeroes with this many blocks.
    fn blank(blocks: usize) -> Self {
        Self::new(Backend::memory(vec![0; blocks * 512], false))
    }

    /// A disk of 8 blocks of sevens, on which this many requests of these kinds for block 5 fail.
    fn failing(failure: Failure, times: u64, ops: fn(Op) -> bool, errors: ErrorPolicy) -> Self {
        let rule = FailRule {
            ops,
            range: 5 * 512..6 * 512,
            after: 0,
            times,
            failure,
        };
        let backend = Backend::fail(Backend::memory(vec![7; 8 * 512], false), rule);
        let options = DiskOptions {
            errors,
            ..DiskOptions::default()
        };
        Self::with_options(backend, options)
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
        // Parameter lists can be longer than the target knows at first.
        let mut sent = 0;
        for _ in 0..10_000 {
            match self.bus.want(task) {
                Want::DataIn(count) => {
                    self.bus.transfer(&self.dma, task, 0, count).expect("RAM");
                    data.resize(count as usize, 0);
                }
                Want::DataOut(count) => {
                    self.bus
                        .transfer(&self.dma, task, sent, count)
                        .expect("RAM");
                    sent += u64::from(count);
                }
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
                Want::Wait => self.wait_for_backend(),
                Want::Gone => panic!("the task has gone"),
            }
        }
        panic!("the task does not end");
    }

    /// Takes what the backend says, once it says something.
    fn wait_for_backend(&mut self) {
        self.bus.kick();
        if self.bus.deadline().is_none() {
            let fds = self.bus.wake_fds();
            let mut fds: Vec<_> = fds
                .iter()
                .map(|fd| PollFd::new(fd, PollFlags::IN))
                .collect();
            if !fds.is_empty() {
                rustix::event::poll(&mut fds, None).expect("poll");
            }
        }
        self.bus.poll(std::time::Instant::now());
        self.bus.kick();
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

    /// Key, additional code and qualifier of a command that must fail.
    fn refusal(&mut self, cdb: &[u8]) -> (u8, u8, u8) {
        let sense = self.sense(cdb);
        (sense[2] & 0xf, sense[12], sense[13])
    }
}
