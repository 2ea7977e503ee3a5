//! The emulator's function in this process: its ports, and the thread that does what no access asks for.

use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use outrigger_emulator::block::Backend;
use outrigger_emulator::device::Progress;
use outrigger_emulator::dma::Mapping;
use outrigger_emulator::lsi::{Lsi, Model};
use outrigger_emulator::pci::Function;
use outrigger_emulator::scsi::{Bus, Disk, DiskOptions};
use outrigger_proxy::port::{Port, PortError};
use outrigger_proxy::vmm::{DeviceAttachment, Ram};
use outrigger_proxy::{Access, Intx, in_process};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

#[derive(Debug)]
struct Chip {
    function: Function,
    /// The interrupt line as the machine was told.
    raised: bool,
}

/// A chip with disks, and its thread.
#[derive(Debug)]
pub(crate) struct Device {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    chip: Mutex<Chip>,
    trigger: EventFd,
    resample: EventFd,
    /// The thread is to look at the deadline again.
    nudge: EventFd,
    over: EventFd,
}

fn eventfd() -> EventFd {
    EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).unwrap()
}

impl Device {
    /// A 53C895A with these disks as targets 0, 1, ... on `ram`, and what a machine with `vcpus` vCPUs needs of it.
    pub(crate) fn new(ram: &Ram, disks: Vec<Backend>, vcpus: usize) -> (Self, DeviceAttachment) {
        let mut bus = Bus::new();
        for (target, backend) in (0..).zip(disks) {
            let disk = Disk::new(backend, DiskOptions::default()).unwrap();
            bus.attach(target, 0, disk.into()).unwrap();
        }
        let mut function = Function::new(Box::new(Lsi::new(Model::Lsi53c895a, bus)));
        let mapping = Mapping {
            address: 0,
            size: ram.bytes(),
            fd: ram.file().unwrap().try_clone().unwrap().into(),
            offset: 0,
            readable: true,
            writable: true,
        };
        function.map(mapping).unwrap();
        let sizes =
            std::array::from_fn(|region| function.region(u8::try_from(region).unwrap()).size);
        let interrupt = Intx::new().unwrap();
        let shared = Arc::new(Shared {
            chip: Mutex::new(Chip {
                function,
                raised: false,
            }),
            trigger: interrupt.trigger().try_clone().unwrap(),
            resample: interrupt.resample().try_clone().unwrap(),
            nudge: eventfd(),
            over: eventfd(),
        });
        let ports = (0..vcpus)
            .map(|_| -> Box<dyn Port> { Box::new(LocalPort(Arc::clone(&shared))) })
            .collect();
        let ports = in_process::attach(ports, sizes).unwrap();
        let thread = Arc::clone(&shared);
        let thread = Some(thread::spawn(move || thread.work()));
        (
            Self { shared, thread },
            DeviceAttachment { ports, interrupt },
        )
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _ = self.shared.over.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Runs the chip until it rests, then brings the interrupt line in line.
    fn settle(&self, chip: &mut Chip) {
        while chip.function.run(Instant::now()) == Progress::More {}
        let level = chip.function.interrupt();
        if level && !chip.raised {
            self.trigger.write(1).unwrap();
        }
        chip.raised = level;
    }

    fn access<T>(&self, access: impl FnOnce(&mut Function) -> T) -> T {
        let mut chip = self.chip.lock().unwrap();
        let value = access(&mut chip.function);
        self.settle(&mut chip);
        if chip.function.deadline().is_some() {
            self.nudge.write(1).unwrap();
        }
        value
    }

    /// Ends of interrupt, completions and timers.
    fn work(&self) {
        let epoll = Epoll::new().unwrap();
        let watch = |fd| {
            epoll
                .ctl(ControlOperation::Add, fd, EpollEvent::new(EventSet::IN, 0))
                .unwrap()
        };
        for event in [&self.resample, &self.nudge, &self.over] {
            watch(event.as_raw_fd());
        }
        for fd in self.chip.lock().unwrap().function.wake_fds() {
            watch(fd.as_raw_fd());
        }
        while self.over.read().is_err() {
            let deadline = self.chip.lock().unwrap().function.deadline();
            let wait = deadline.map_or(-1, |deadline| {
                let left = deadline
                    .saturating_duration_since(Instant::now())
                    .as_millis();
                i32::try_from(left).unwrap_or(i32::MAX).saturating_add(1)
            });
            let _ = epoll.wait(wait, &mut [EpollEvent::default(); 4]);
            let _ = self.nudge.read();
            let mut chip = self.chip.lock().unwrap();
            if self.resample.read().is_ok() {
                chip.raised = false;
            }
            self.settle(&mut chip);
        }
    }
}

/// One vCPU's way to the function.
#[derive(Debug)]
struct LocalPort(Arc<Shared>);

impl Port for LocalPort {
    fn read(&mut self, access: Access) -> Result<u64, PortError> {
        Ok(self.0.access(|function| function.read(access)))
    }

    fn post(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        self.0.access(|function| function.write(access, value));
        Ok(())
    }

    fn write(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        self.post(access, value)
    }
}
