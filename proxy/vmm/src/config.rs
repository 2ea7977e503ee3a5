//! What a machine is built from.

use std::time::Duration;

use outrigger_proxy::{Intx, VcpuPort};

use crate::kvm::kvm_unavailable;

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
        match kvm_unavailable() {
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
