//! The reference VMM: a small machine with guest RAM, a PCI host bridge and vCPUs, that drives one LSI 53C895A.
//!
//! The demo, the tests and the benchmarks run on it. It exists to work the proxy as a real VMM does, so it is
//! complete only in that: [`Machine::run`] boots a guest whose driver works through a [`Workload`] and says what
//! that cost, in a [`Report`]. How the device is reached (ring, socket, in this process) is
//! behind its [`VcpuPort`](crate::VcpuPort)s.
//!
//! With [`VcpuKind::Kvm`] the driver is a program inside a virtual machine; with [`VcpuKind::Software`] the same
//! driver, with the same structures in guest RAM and the same SCRIPTS, is a thread. Its interrupt is the same pair
//! of eventfds.

pub mod guest;

pub(crate) mod board;
mod latency;
mod machine;
pub(crate) mod prepare;
mod ram;
mod report;
mod run;
mod software;
mod workload;

pub use crate::kvm::{KvmUnavailable, kvm_unavailable};
pub(crate) use board::Board;
pub use latency::LatencyHistogram;
pub use machine::{DeviceAttachment, Machine, MachineConfig, StopHandle, VcpuKind, VmmError};
pub use ram::Ram;
pub use report::{
    Accesses, ChipError, Exits, FailedRequest, Failure, Report, RequestError, RunError, Sense,
    VcpuReport,
};
pub use run::Observer;
pub use workload::{Direction, OtherVcpus, Request, Workload};
