//! The device over one of the three ways to it, with a guest's RAM and interrupt.

use std::fmt;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use outrigger_block::{Backend, FileOptions};
use outrigger_device::dma::Mapping;
use outrigger_device::pci::Function;
use outrigger_emulator::lsi::{Lsi, Model};
use outrigger_emulator::scsi::{Bus, Disk, DiskOptions};
use outrigger_proxy::port::Port;
use outrigger_proxy::{
    Endpoint, Intx, Proxy, ProxyOptions, Transport, UnsealedMemory, VcpuPort,
    in_process as proxy_in_process,
};
use outrigger_vmm::guest::layout::BUFFERS;
use outrigger_vmm::{
    DeviceAttachment, Machine, MachineConfig, Ram, Request, VcpuKind, Workload, kvm_unavailable,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::PATIENCE;
use crate::emulator::command;
use crate::in_process::InProcess;
use crate::place::{Image, Place};

/// Guest RAM.
pub const RAM: u64 = 64 << 20;
/// Ports to the device.
pub const VCPUS: u32 = 2;

/// A way to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front {
    /// No other process.
    InProcess,
    /// Messages on a socket to a process of its own.
    Socket,
    /// Shared-memory rings to a process of its own.
    Ring,
}

impl Front {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::InProcess, Self::Socket, Self::Ring];
}

impl fmt::Display for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InProcess => "in-process",
            Self::Socket => "vfio-user",
            Self::Ring => "ring",
        })
    }
}

/// The kinds of vCPU that can run here.
#[must_use]
pub fn vcpu_kinds() -> Vec<VcpuKind> {
    let Some(reason) = kvm_unavailable() else {
        return vec![VcpuKind::Software, VcpuKind::Kvm];
    };
    outrigger_skip::skipped(reason);
    vec![VcpuKind::Software]
}

/// What the tests' proxies are given, with this transport: an answer takes a loaded machine some time.
#[must_use]
pub const fn options(transport: Transport) -> ProxyOptions {
    ProxyOptions {
        vcpus: VCPUS,
        transport,
        ring_slots: 256,
        deadline: PATIENCE,
        unsealed_memory: UnsealedMemory::Warn,
    }
}

/// Where the device is.
#[derive(Debug)]
pub enum Device {
    /// In a process of its own, which the proxy may have started.
    Remote(Box<Proxy>),
    /// In this one.
    Local(InProcess),
}

/// An attached device.
#[derive(Debug)]
pub struct Attached {
    /// Guest RAM, from address 0.
    pub ram: Ram,
    /// A port for each vCPU.
    pub ports: Vec<VcpuPort>,
    /// The interrupt line.
    pub intx: Intx,
    /// Where it is.
    pub device: Device,
}

impl Attached {
    /// A 53C895A with these disks as targets 0, 1, ..., over this front: in a new process, or in this one.
    ///
    /// # Panics
    /// If that does not work.
    #[must_use]
    pub fn new(front: Front, disks: &[Image]) -> Self {
        match front {
            Front::InProcess => Self::local(disks),
            Front::Socket => Self::spawn(disks, options(Transport::Socket)),
            Front::Ring => Self::spawn(disks, options(Transport::Ring)),
        }
    }

    /// The same in a process that the proxy starts, over an inherited socket.
    ///
    /// # Panics
    /// If that does not work.
    #[must_use]
    pub fn spawn(disks: &[Image], options: ProxyOptions) -> Self {
        let (proxy, ports) = Proxy::spawn(command(disks), options).expect("an emulator");
        let ram = Ram::new(RAM).expect("guest RAM");
        Self::remote(proxy, ports, options, ram)
    }

    /// The device that an emulator serves there.
    ///
    /// # Panics
    /// If that does not work.
    #[must_use]
    pub fn connect(endpoint: Endpoint, options: ProxyOptions) -> Self {
        let ram = Ram::new(RAM).expect("guest RAM");
        Self::connect_with(endpoint, options, ram)
    }

    /// The same, with this RAM.
    ///
    /// # Panics
    /// If that does not work.
    #[must_use]
    pub fn connect_with(endpoint: Endpoint, options: ProxyOptions, ram: Ram) -> Self {
        let (proxy, ports) = Proxy::connect(endpoint, options).expect("an emulator");
        Self::remote(proxy, ports, options, ram)
    }

    fn remote(proxy: Proxy, ports: Vec<VcpuPort>, options: ProxyOptions, ram: Ram) -> Self {
        assert_eq!(proxy.transport(), options.transport);
        let intx = Intx::new().expect("eventfds");
        proxy.attach_memory(ram.memory()).expect("attached memory");
        proxy.enable_interrupt(&intx).expect("an interrupt");
        Self {
            ram,
            ports,
            intx,
            device: Device::Remote(Box::new(proxy)),
        }
    }

    fn local(disks: &[Image]) -> Self {
        let backend = |disk: &Image| {
            let mut open = File::options();
            let file = open.read(true).write(!disk.read_only).open(&disk.path);
            let options = FileOptions {
                read_only: disk.read_only,
                ..FileOptions::default()
            };
            Backend::file(file.expect("the image"), options).expect("a backend")
        };
        Self::local_on(disks.iter().map(backend).collect())
    }

    /// A 53C895A with these backends as targets 0, 1, ..., in this process.
    ///
    /// # Panics
    /// If that does not work.
    #[must_use]
    pub fn local_on(disks: Vec<Backend>) -> Self {
        let ram = Ram::new(RAM).expect("guest RAM");
        let mut bus = Bus::new();
        for (target, backend) in (0..).zip(disks) {
            let mut options = DiskOptions::default();
            // As the emulator's options name it.
            options.identity.device_id = format!("lsi0disk{target}");
            let disk = Disk::new(backend, options).expect("a disk");
            bus.attach(target, 0, disk.into()).expect("a free place");
        }
        let mut function = Function::new(Box::new(Lsi::new(Model::Lsi53c895a, bus)));
        let memory = ram.file().expect("a file").try_clone();
        let mapping = Mapping {
            address: 0,
            size: ram.bytes(),
            fd: memory.expect("a descriptor").into(),
            offset: 0,
            readable: true,
            writable: true,
        };
        function.map(mapping).expect("mapped RAM");
        let sizes = [0, 1, 2, 3, 4, 5, 6].map(|region| function.region(region).size);
        let device = InProcess::start(function).expect("a thread");
        let ports = (0..VCPUS)
            .map(|_| Box::new(device.port()) as Box<dyn Port>)
            .collect();
        Self {
            ram,
            ports: proxy_in_process::attach(ports, sizes).expect("ports"),
            intx: device.interrupt().try_clone().expect("eventfds"),
            device: Device::Local(device),
        }
    }

    /// A machine that has the device, and where the device is.
    ///
    /// # Panics
    /// If the process is out of descriptors.
    #[must_use]
    pub fn machine(self, kind: VcpuKind) -> (Machine, Device) {
        let config = MachineConfig {
            time_limit: PATIENCE,
            ..MachineConfig::new(kind)
        };
        let device = DeviceAttachment {
            ports: self.ports,
            interrupt: self.intx,
        };
        (Machine::new(config, self.ram, device), self.device)
    }

    /// A machine that has the device, with the unit attention of target 0 out of the way.
    ///
    /// # Panics
    /// If it cannot be taken.
    #[must_use]
    pub fn ready_machine(self, kind: VcpuKind) -> (Machine, Device) {
        let (mut machine, device) = self.machine(kind);
        let ask = Workload::new(vec![Request::test_unit_ready(0)], 1);
        let report = machine.run(&ask).expect("a run");
        assert_eq!(report.failure, None, "{report:?}");
        let report = machine.run(&ask).expect("a run");
        assert!(report.is_good(), "{report:?}");
        (machine, device)
    }

    /// Resets the device as a bus reset does.
    ///
    /// # Panics
    /// If the emulator does not agree.
    pub fn reset(&mut self) {
        match &self.device {
            Device::Remote(proxy) => proxy.reset().expect("a reset"),
            Device::Local(device) => {
                device.with(|function| function.reset());
            }
        }
    }
}

impl Device {
    /// The proxy's handle.
    ///
    /// # Panics
    /// If the device is in this process.
    pub const fn proxy(&mut self) -> &mut Proxy {
        match self {
            Self::Remote(proxy) => proxy,
            Self::Local(_) => panic!("the device is in this process"),
        }
    }
}

/// Runs the test over each front, with a disk of these bytes at target 0 and one that is read-only at target 1. The
/// device must be alive at the end.
///
/// # Panics
/// If it is not.
pub fn everywhere(disk: &[u8], mut test: impl FnMut(Front, &mut Attached, &Image)) {
    for front in Front::ALL {
        let place = Place::new();
        let image = place.image("disk.img", disk);
        let fixed = place.image("fixed.img", disk).read_only();
        let mut attached = Attached::new(front, &[image.clone(), fixed]);
        test(front, &mut attached, &image);
        for port in &attached.ports {
            assert!(!port.is_dead(), "{front}");
        }
    }
}

/// Has the guest read all of target 0, which must have these bytes: whole blocks of 4096.
///
/// # Panics
/// If it has not.
pub fn reads_all(machine: &mut Machine, disk: &[u8]) {
    let requests = disk.chunks_exact(4096).zip(0_u32..);
    let requests =
        requests.map(|(_, index)| Request::read(0, index * 8, 8, BUFFERS + index * 4096));
    let workload = Workload::new(requests.collect(), 8);
    let report = machine.run(&workload).expect("a run");
    assert!(report.is_good(), "{report:?}");
    let mut read = vec![0; disk.len()];
    machine.ram().read(BUFFERS.into(), &mut read).expect("RAM");
    assert!(read == disk, "other bytes than the disk's");
}

/// Whether the descriptor becomes readable within this time.
///
/// # Panics
/// If it cannot be waited for.
pub fn readable(fd: impl AsFd, within: Duration) -> bool {
    let within = Timespec::try_from(within).expect("a time");
    loop {
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&within)) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
