//! The reference VMM: a small machine with guest RAM, a PCI host bridge and vCPUs, that drives one LSI 53C895A.
//!
//! The demo, the tests and the benchmarks run on it. It exists to work the proxy as a real VMM does, so it is
//! complete only in that: [`Machine::run`] boots a guest whose driver works through a [`Workload`] and says what
//! that cost, in a [`Report`]. How the device is reached (ring, socket, in this process) is
//! behind its [`VcpuPort`](outrigger_proxy::VcpuPort)s.
//!
//! With [`VcpuKind::Kvm`] the driver is a program inside a virtual machine; with [`VcpuKind::Software`] the same
//! driver, with the same structures in guest RAM and the same SCRIPTS, is a thread. Its interrupt is the same pair
//! of eventfds.

#![cfg(target_arch = "x86_64")]

pub mod guest;

mod board;
mod config;
mod error;
mod kvm;
mod latency;
mod machine;
mod prepare;
mod ram;
mod report;
mod run;
mod software;
mod stop;
mod workload;

pub use config::{DeviceAttachment, MachineConfig, VcpuKind};
pub use error::VmmError;
pub use kvm::{KvmUnavailable, kvm_unavailable};
pub use latency::LatencyHistogram;
pub use machine::Machine;
pub use ram::Ram;
pub use report::{
    Accesses, ChipError, Exits, FailedRequest, Failure, Report, RequestError, RunError, Sense,
    VcpuReport,
};
pub use run::Observer;
pub use stop::StopHandle;
pub use workload::{Direction, OtherVcpus, Request, Workload};
