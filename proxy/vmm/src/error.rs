//! Why a machine cannot be built, or a run not be started.

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
