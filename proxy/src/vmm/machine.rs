//! The machine: RAM, vCPUs, and the device that it drives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::guest::program::GuestProgram;
use super::prepare::prepare;
use super::ram::Ram;
use super::report::Report;
use super::run::{self, Observer};
use super::workload::Workload;
use crate::counters::Counters;
use crate::interrupt::Intx;
use crate::vcpu_port::VcpuPort;

/// Why a machine could not be built or a run not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VmmError {
    /// Guest RAM could not be made.
    #[error("guest RAM: {0}")]
    Ram(String),
    /// An address is not in guest RAM.
    #[error("no guest RAM at {0:#x}")]
    OutsideRam(u64),
    /// KVM refused something.
    #[error("KVM, {what}: {reason}")]
    Kvm {
        /// What was tried.
        what: &'static str,
        /// What it said.
        reason: String,
    },
    /// A workload that the driver cannot do.
    #[error("workload: {0}")]
    Workload(String),
    /// A thread or a descriptor could not be made.
    #[error("{0}")]
    Host(String),
}

/// What the vCPUs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VcpuKind {
    /// vCPUs of a virtual machine under KVM.
    Kvm,
    /// Threads of the host that run the same driver.
    Software,
}

impl VcpuKind {
    /// KVM where this process may use it, else software.
    #[must_use]
    pub fn best() -> Self {
        match crate::kvm::kvm_unavailable() {
            None => Self::Kvm,
            Some(_) => Self::Software,
        }
    }
}

impl std::fmt::Display for VcpuKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Software => "software",
        })
    }
}

/// How the machine is built.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// What the vCPUs are.
    pub kind: VcpuKind,
    /// The host CPU of each vCPU's thread; vCPUs beyond the list are not pinned. A software vCPU polls for its interrupt, as KVM does,
    /// only if it is pinned: give it a CPU that nobody else needs.
    pub pins: Vec<usize>,
    /// After this time a run is stopped.
    pub time_limit: Duration,
    /// The first word of the device's config space: device ID, vendor ID.
    pub device_id: u32,
}

impl MachineConfig {
    /// vCPUs of this kind, not pinned, a minute per run, an LSI 53C895A.
    #[must_use]
    pub const fn new(kind: VcpuKind) -> Self {
        Self {
            kind,
            pins: Vec::new(),
            time_limit: Duration::from_secs(60),
            device_id: 0x0012_1000,
        }
    }
}

/// A device as the machine gets it.
#[derive(Debug)]
pub struct DeviceAttachment {
    /// One port per vCPU, in their order.
    pub ports: Vec<VcpuPort>,
    /// The device's interrupt.
    pub interrupt: Intx,
}

/// Stops a machine's run from another thread, as when its device has gone.
#[derive(Clone, Debug, Default)]
pub struct StopHandle(Arc<AtomicBool>);

impl StopHandle {
    /// The run that is on, or else the next one, ends soon, with [`Failure::Stopped`](super::Failure::Stopped).
    pub fn stop(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether a stop was asked for since the last time.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

/// A machine with one device.
#[derive(Debug)]
pub struct Machine {
    pub(super) config: MachineConfig,
    pub(super) ram: Ram,
    pub(super) device: DeviceAttachment,
    pub(super) stop: StopHandle,
}

impl Machine {
    /// A machine with `ram` and `device`, which reaches the same RAM for its DMA.
    #[must_use]
    pub fn new(config: MachineConfig, ram: Ram, device: DeviceAttachment) -> Self {
        Self {
            config,
            ram,
            device,
            stop: StopHandle::default(),
        }
    }

    /// Stops its runs.
    #[must_use]
    pub fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Its RAM.
    #[must_use]
    pub const fn ram(&self) -> &Ram {
        &self.ram
    }

    /// What all vCPUs' accesses have cost since attach.
    #[must_use]
    pub fn counters(&self) -> Counters {
        let ports = self.device.ports.iter();
        ports.fold(Counters::default(), |sum, port| sum.plus(port.counters()))
    }

    /// Boots the guest, which sets the device up and works through `workload`, and waits for its end.
    ///
    /// Every run starts a new virtual machine and resets the chip; RAM from
    /// [`BUFFERS`](super::guest::layout::BUFFERS) on is left as it is.
    ///
    /// # Errors
    /// The run could not be started. What goes wrong later is in the report.
    pub fn run(&mut self, workload: &Workload) -> Result<Report, VmmError> {
        self.run_observed(workload, &mut |_, _| ())
    }

    /// The same, and tells `observer` which requests are done, in their order: each is in exactly one of the ranges
    /// it sees. With a [window](Workload::window), the guest starts a request only if it is less than the window
    /// ahead of the first that the observer has not seen.
    ///
    /// # Errors
    /// As for [`Machine::run`].
    pub fn run_observed(
        &mut self,
        workload: &Workload,
        observer: Observer<'_>,
    ) -> Result<Report, VmmError> {
        self.run_program(&GuestProgram::driver(), workload, observer)
    }

    pub(super) fn run_program(
        &mut self,
        program: &GuestProgram,
        workload: &Workload,
        observer: Observer<'_>,
    ) -> Result<Report, VmmError> {
        let vcpus = workload.vcpus();
        if self.device.ports.len() < vcpus {
            return Err(VmmError::Workload(format!(
                "{vcpus} vCPUs, but {} ports",
                self.device.ports.len()
            )));
        }
        let scripts = prepare(&self.ram, workload, program, self.config.device_id)?;
        run::run(self, program, &scripts, workload, observer)
    }

    /// Takes the machine apart: the device can be given to another.
    #[must_use]
    pub fn into_device(self) -> DeviceAttachment {
        self.device
    }
}

#[cfg(test)]
mod tests;
