//! Fuzz targets of the proxy: what an emulator can say to it.

pub mod attach;
pub mod identity;

/// All of them.
pub const TARGETS: &[outrigger_fuzz::Target] =
    &[("identity", identity::run), ("attach", attach::run)];
