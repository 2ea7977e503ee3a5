//! The emulator as a program has it: options, the registry of drivers, and the assembly of devices from both.

pub mod assembly;
pub mod config;
pub mod lsi;
pub mod registry;
pub mod scsi;
