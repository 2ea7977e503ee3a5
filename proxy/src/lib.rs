//! The VMM's side of an Outrigger device.

pub mod port;
