//! The machine: RAM, vCPUs, and the device that it drives.

use outrigger_proxy::Counters;

use crate::config::{DeviceAttachment, MachineConfig};
use crate::error::VmmError;
use crate::guest::program::GuestProgram;
use crate::prepare::prepare;
use crate::ram::Ram;
use crate::report::Report;
use crate::run::{self, Guest, Observer};
use crate::stop::StopHandle;
use crate::workload::Workload;

/// A machine with one device.
#[derive(Debug)]
pub struct Machine {
    config: MachineConfig,
    ram: Ram,
    device: DeviceAttachment,
    stop: StopHandle,
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

    fn run_program(
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
        run::run(
            &self.config,
            &self.ram,
            &mut self.device,
            &self.stop,
            &Guest {
                program,
                scripts: &scripts,
                workload,
            },
            observer,
        )
    }

    /// Takes the machine apart: the device can be given to another.
    #[must_use]
    pub fn into_device(self) -> DeviceAttachment {
        self.device
    }
}

#[cfg(test)]
mod tests;
