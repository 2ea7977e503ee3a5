//! The device over one of the three ways to it, with a guest that drives it.

mod source;

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use outrigger_device::statistics::Page;
use outrigger_emulator::scsi::{Bus, Disk, DiskOptions};
use outrigger_proxy::port::Port;
use outrigger_proxy::{
    Emulator, EmulatorCommand, Endpoint, Intx, Proxy, ProxyOptions, Transport, VcpuPort, in_process,
};
use outrigger_tests::in_process::InProcess;
use outrigger_vmm::{
    DeviceAttachment, Machine, MachineConfig, Ram, Report as Run, VcpuKind, Workload,
};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::chip;
use crate::spent::{Snapshot, Spent};
pub(crate) use source::Source;

const RAM_BYTES: u64 = 64 << 20;
const VCPUS: u32 = 4;

/// A way to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Front {
    /// Shared-memory rings to a process of its own.
    Ring,
    /// Messages on a socket to a process of its own.
    VfioUser,
    /// No other process.
    InProcess,
}

impl Front {
    pub(crate) const ALL: [Self; 3] = [Self::Ring, Self::VfioUser, Self::InProcess];
}

impl fmt::Display for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ring => "ring",
            Self::VfioUser => "vfio-user",
            Self::InProcess => "in-process",
        })
    }
}

/// Where the parts of a guest run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pinning {
    /// The first vCPU has a CPU to itself where there are two; the device's process gets the rest.
    Apart,
    /// Wherever the kernel likes.
    None,
}

/// The device over one front, and its guest.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) front: Front,
    pub(crate) vcpu: VcpuKind,
    pub(crate) machine: Machine,
    device: Device,
}

/// The device, for as long as it is needed.
#[derive(Debug)]
pub(crate) enum Device {
    /// In a process of its own.
    Remote(Box<Proxy>, Emulator, Intx, Page),
    /// In this one.
    Local(InProcess),
}

/// What the device's process spent on a run, or this one's thread that serves the device beside the vCPUs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) spent: Spent,
    /// The time that the device's process polled its rings with nothing to do, as of its worker's last sleep.
    pub(crate) spin_nanoseconds: u64,
}

impl Attached {
    /// Starts the device, attaches it to a new guest whose vCPUs are of this kind.
    pub(crate) fn new(
        front: Front,
        vcpu: VcpuKind,
        pinning: Pinning,
        disks: &[Source],
    ) -> Result<Self> {
        let config = MachineConfig {
            pins: pinning.vcpus(),
            ..MachineConfig::new(vcpu)
        };
        let ram = Ram::new(RAM_BYTES)?;
        let (device, ports) = connect(front, pinning, disks, &ram)?;
        let interrupt = match &device {
            Device::Remote(_, _, interrupt, _) => interrupt,
            Device::Local(device) => device.interrupt(),
        };
        let attachment = DeviceAttachment {
            ports,
            interrupt: interrupt.try_clone()?,
        };
        Ok(Self {
            front,
            vcpu,
            machine: Machine::new(config, ram, attachment),
            device,
        })
    }

    /// The device's process; `None` where it is in this one.
    pub(crate) fn emulator(&self) -> Option<u32> {
        match &self.device {
            Device::Remote(_, emulator, ..) => Some(emulator.id()),
            Device::Local(_) => None,
        }
    }

    /// Where the device is, for people.
    pub(crate) fn place(&self) -> String {
        match &self.device {
            Device::Remote(_, emulator, ..) => {
                format!("outrigger-emulator, process {}, sandboxed", emulator.id())
            }
            Device::Local(_) => "a lock and a thread in this process, no isolation".to_owned(),
        }
    }

    /// What the device has spent so far, and how long it has polled.
    fn so_far(&self) -> (Snapshot, u64) {
        match &self.device {
            Device::Remote(_, emulator, _, page) => (
                Snapshot::of_process(emulator.id()),
                page.read().get("spin_nanoseconds"),
            ),
            Device::Local(device) => (Snapshot::of_thread(device.thread_id()), 0),
        }
    }

    /// Runs a workload all of whose requests must succeed; the run, and what the device spent on it.
    pub(crate) fn run(&mut self, workload: &Workload) -> Result<(Run, Cost)> {
        let (before, spun_before) = self.so_far();
        let run = self.machine.run(workload)?;
        let (after, spun) = self.so_far();
        self.expect_good(&run)?;
        let cost = Cost {
            spent: after.since(&before),
            spin_nanoseconds: spun.saturating_sub(spun_before),
        };
        Ok((run, cost))
    }

    /// An error if the run did not end well: the demo's requests are all ones that must succeed.
    pub(crate) fn expect_good(&self, run: &Run) -> Result<()> {
        run.outcome().with_context(|| self.front.to_string())
    }

    /// Ends it. Whether the other process ended by itself and well once its client had gone.
    pub(crate) fn detach(self) -> Result<bool> {
        drop(self.machine);
        match self.device {
            Device::Local(_) => Ok(true),
            Device::Remote(proxy, mut emulator, ..) => {
                proxy.detach()?;
                let status = emulator.wait(Duration::from_secs(10))?;
                Ok(status.is_some_and(|status| status.success()))
            }
        }
    }
}

/// Starts the device and attaches it, with a port for each vCPU.
pub(crate) fn connect(
    front: Front,
    pinning: Pinning,
    disks: &[Source],
    ram: &Ram,
) -> Result<(Device, Vec<VcpuPort>)> {
    match front {
        Front::Ring => remote(Transport::Ring, pinning, disks, ram),
        Front::VfioUser => remote(Transport::Socket, pinning, disks, ram),
        Front::InProcess => local(disks, ram),
    }
}

impl Pinning {
    /// The CPU of each vCPU; those beyond the list are not pinned.
    fn vcpus(self) -> Vec<usize> {
        match self {
            Self::Apart if cpus() > 1 => vec![0],
            _ => Vec::new(),
        }
    }

    /// The CPUs of the device's process; `None`: all.
    fn device(self) -> Option<CpuSet> {
        let mut others = CpuSet::new();
        (1..cpus()).for_each(|cpu| others.set(cpu));
        (self == Self::Apart && cpus() > 1).then_some(others)
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn remote(
    transport: Transport,
    pinning: Pinning,
    disks: &[Source],
    ram: &Ram,
) -> Result<(Device, Vec<VcpuPort>)> {
    let directory = tempfile::tempdir()?;
    let stats = directory.path().join("stats");
    let command = EmulatorCommand::new(emulator_binary()?, "lsi0")
        .args(device_arguments(disks))
        .statistics(&stats);
    let options = ProxyOptions {
        vcpus: VCPUS,
        transport,
        ..ProxyOptions::default()
    };
    let deadline = options.deadline;
    let (mut emulator, socket) = spawn(command, pinning)?;
    let (proxy, ports) = Proxy::connect(Endpoint::Socket(socket), options)
        .map_err(|error| emulator.explain(error, deadline))?;
    proxy.attach_memory(ram.memory())?;
    let intx = Intx::new()?;
    proxy.enable_interrupt(&intx)?;
    // The device is attached, so the socket is there.
    let page = Page::open(&stats)?;
    let device = Device::Remote(Box::new(proxy), emulator, intx, page);
    Ok((device, ports))
}

/// The emulator's options for a controller `lsi0` with these disks.
pub(crate) fn device_arguments(disks: &[Source]) -> Vec<String> {
    let mut arguments = vec!["--device".to_owned(), "lsi53c895a,id=lsi0".to_owned()];
    for (id, disk) in disks.iter().enumerate() {
        let node = format!("disk{id}");
        let blockdev = disk.blockdev(&node);
        let device = format!("scsi-hd,bus=lsi0.0,scsi-id={id},drive={node}");
        arguments.extend(["--blockdev".to_owned(), blockdev]);
        arguments.extend(["--device".to_owned(), device]);
    }
    arguments
}

/// A process inherits the CPUs of the thread that starts it.
fn spawn(command: EmulatorCommand, pinning: Pinning) -> Result<(Emulator, OwnedFd)> {
    std::thread::scope(|scope| {
        let starter = scope.spawn(|| {
            if let Some(cpus) = pinning.device() {
                sched_setaffinity(None, &cpus)?;
            }
            anyhow::Ok(command.spawn()?)
        });
        starter
            .join()
            .unwrap_or_else(|_| bail!("the thread that starts the emulator panicked"))
    })
}

fn local(disks: &[Source], ram: &Ram) -> Result<(Device, Vec<VcpuPort>)> {
    let mut bus = Bus::new();
    for (id, disk) in (0..).zip(disks) {
        bus.attach(
            id,
            0,
            Disk::new(disk.open()?, DiskOptions::default())?.into(),
        )?;
    }
    let function = chip::controller(bus, ram)?;
    let sizes = [0, 1, 2, 3, 4, 5, 6].map(|region| function.region(region).size);
    let device = InProcess::start(function)?;
    let ports = (0..VCPUS)
        .map(|_| Box::new(device.port()) as Box<dyn Port>)
        .collect();
    let ports = in_process::attach(ports, sizes)?;
    Ok((Device::Local(device), ports))
}

/// The emulator that was built with this program.
pub(crate) fn emulator_binary() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("outrigger-emulator");
    if !path.exists() {
        bail!(
            "{} is not there: build it with `cargo build --release -p outrigger-emulator`",
            path.display()
        );
    }
    Ok(path)
}
