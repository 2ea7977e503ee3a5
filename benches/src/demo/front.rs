//! The device over one of the three ways to it, with a guest that drives it.

use std::fmt;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use outrigger_emulator::block::{Backend, FileOptions};
use outrigger_emulator::dma::Mapping;
use outrigger_emulator::lsi::{Lsi, Model};
use outrigger_emulator::pci::Function;
use outrigger_emulator::scsi::{Bus, Disk, DiskOptions};
use outrigger_proxy::port::Port;
use outrigger_proxy::vmm::{
    DeviceAttachment, Machine, MachineConfig, Ram, Report as Run, VcpuKind,
};
use outrigger_proxy::{
    Emulator, EmulatorCommand, Endpoint, Intx, Proxy, ProxyOptions, Transport, VcpuPort, in_process,
};
use outrigger_tests::in_process::InProcess;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::context_switches;
use crate::image::Image;

/// SCSI ID of the disk that is read.
pub(super) const DISK: u8 = 0;
/// SCSI ID of the disk that is written.
pub(super) const SCRATCH: u8 = 1;

const RAM_BYTES: u64 = 64 << 20;
const VCPUS: u32 = 2;

/// A way to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Front {
    /// Shared-memory rings to a process of its own.
    Ring,
    /// Messages on a socket to a process of its own.
    VfioUser,
    /// No other process.
    InProcess,
}

impl Front {
    pub(super) const ALL: [Self; 3] = [Self::Ring, Self::VfioUser, Self::InProcess];
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

/// The device over one front, and its guest.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) front: Front,
    pub(super) vcpu: VcpuKind,
    pub(super) machine: Machine,
    device: Device,
}

#[derive(Debug)]
enum Device {
    /// In a process of its own.
    Remote(Box<Proxy>, Emulator, Intx),
    /// In this one.
    Local(InProcess),
}

/// What has been spent so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) crossings: u64,
    /// Of the device's process, or of this one's thread that serves the device beside the vCPUs.
    pub(super) context_switches: u64,
}

impl Counts {
    pub(super) const fn since(self, earlier: Self) -> Self {
        Self {
            crossings: self.crossings.wrapping_sub(earlier.crossings),
            context_switches: self.context_switches.wrapping_sub(earlier.context_switches),
        }
    }
}

impl Attached {
    /// Starts the device, attaches it to a new guest.
    pub(super) fn new(front: Front, image: &Image, scratch: &Path) -> Result<Self> {
        let vcpu = VcpuKind::best();
        let config = MachineConfig {
            pins: vcpu_pins(),
            ..MachineConfig::new(vcpu)
        };
        let ram = Ram::new(RAM_BYTES)?;
        let (device, ports) = match front {
            Front::Ring => remote(Transport::Ring, image, scratch, &ram)?,
            Front::VfioUser => remote(Transport::Socket, image, scratch, &ram)?,
            Front::InProcess => local(image, scratch, &ram)?,
        };
        let interrupt = match &device {
            Device::Remote(_, _, interrupt) => interrupt,
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

    /// Where the device is, for people.
    pub(super) fn place(&self) -> String {
        match &self.device {
            Device::Remote(_, emulator, _) => {
                format!("outrigger-emulator, process {}, sandboxed", emulator.id())
            }
            Device::Local(_) => "a lock and a thread in this process, no isolation".to_owned(),
        }
    }

    /// What the accesses and the device have cost so far.
    pub(super) fn counts(&self) -> Counts {
        match &self.device {
            Device::Remote(_, emulator, _) => Counts {
                crossings: self.machine.counters().crossings,
                context_switches: context_switches::of_process(emulator.id()),
            },
            Device::Local(device) => Counts {
                crossings: 0,
                context_switches: context_switches::of_thread(device.thread_id()),
            },
        }
    }

    /// An error if the run did not end well: the demo's requests are all ones that must succeed.
    pub(super) fn expect_good(&self, run: &Run) -> Result<()> {
        if let Some(failure) = &run.failure {
            bail!("{}: {failure}", self.front);
        }
        if run.errors > 0 {
            bail!(
                "{}: {} of {} requests failed",
                self.front,
                run.errors,
                run.statuses.len()
            );
        }
        Ok(())
    }

    /// Ends it. Whether the other process ended by itself and well once its client had gone.
    pub(super) fn detach(self) -> Result<bool> {
        drop(self.machine);
        match self.device {
            Device::Local(_) => Ok(true),
            Device::Remote(proxy, mut emulator, _) => {
                proxy.detach()?;
                let status = emulator.wait(Duration::from_secs(10))?;
                Ok(status.is_some_and(|status| status.success()))
            }
        }
    }
}

/// The first vCPU has a CPU to itself where there are two; the device's process gets the rest.
fn vcpu_pins() -> Vec<usize> {
    if cpus() > 1 { vec![0] } else { Vec::new() }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn remote(
    transport: Transport,
    image: &Image,
    scratch: &Path,
    ram: &Ram,
) -> Result<(Device, Vec<VcpuPort>)> {
    let command = EmulatorCommand::new(emulator_binary()?, "lsi0")
        .arg("--blockdev")
        .arg(blockdev("disk0", &image.path, true))
        .arg("--blockdev")
        .arg(blockdev("scratch0", scratch, false))
        .args(["--device", "lsi53c895a,id=lsi0"])
        .args([
            "--device",
            &format!("scsi-hd,bus=lsi0.0,scsi-id={DISK},drive=disk0"),
        ])
        .args([
            "--device",
            &format!("scsi-hd,bus=lsi0.0,scsi-id={SCRATCH},drive=scratch0"),
        ]);
    let options = ProxyOptions {
        vcpus: VCPUS,
        transport,
        ..ProxyOptions::default()
    };
    let (emulator, socket) = spawn_beside_the_vcpu(command)?;
    let (mut proxy, ports) = Proxy::connect(Endpoint::Socket(socket), options)?;
    proxy.attach_memory(ram.memory())?;
    let intx = Intx::new()?;
    proxy.enable_interrupt(&intx)?;
    Ok((Device::Remote(Box::new(proxy), emulator, intx), ports))
}

/// A process inherits the CPUs of the thread that starts it.
fn spawn_beside_the_vcpu(command: EmulatorCommand) -> Result<(Emulator, OwnedFd)> {
    std::thread::scope(|scope| {
        let starter = scope.spawn(|| {
            if cpus() > 1 {
                let mut others = CpuSet::new();
                (1..cpus()).for_each(|cpu| others.set(cpu));
                sched_setaffinity(None, &others)?;
            }
            anyhow::Ok(command.spawn()?)
        });
        starter
            .join()
            .unwrap_or_else(|_| bail!("the thread that starts the emulator panicked"))
    })
}

fn local(image: &Image, scratch: &Path, ram: &Ram) -> Result<(Device, Vec<VcpuPort>)> {
    let mut bus = Bus::new();
    for (id, path, read_only) in [
        (DISK, image.path.as_path(), true),
        (SCRATCH, scratch, false),
    ] {
        let file = File::options().read(true).write(!read_only).open(path)?;
        let backend = Backend::file(
            file,
            FileOptions {
                read_only,
                ..FileOptions::default()
            },
        )?;
        bus.attach(id, 0, Disk::new(backend, DiskOptions::default())?.into())?;
    }
    let mut function = Function::new(Box::new(Lsi::new(Model::Lsi53c895a, bus)));
    let memory = ram.file().context("guest RAM without a file")?;
    function.map(Mapping {
        address: 0,
        size: ram.bytes(),
        fd: memory.try_clone()?.into(),
        offset: 0,
        readable: true,
        writable: true,
    })?;
    let sizes = [0, 1, 2, 3, 4, 5, 6].map(|region| function.region(region).size);
    let device = InProcess::start(function)?;
    let ports = (0..VCPUS)
        .map(|_| Box::new(device.port()) as Box<dyn Port>)
        .collect();
    let ports = in_process::attach(ports, sizes)?;
    Ok((Device::Local(device), ports))
}

fn blockdev(node: &str, path: &Path, read_only: bool) -> String {
    let read_only = if read_only { "on" } else { "off" };
    // A comma in an option's value is written twice.
    let filename = path.display().to_string().replace(',', ",,");
    format!("driver=file,node-name={node},filename={filename},read-only={read_only}")
}

/// The emulator that was built with this program.
fn emulator_binary() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("outrigger-emulator");
    if !path.exists() {
        bail!(
            "{} is not there: build it with `cargo build --release -p outrigger-emulator`",
            path.display()
        );
    }
    Ok(path)
}
