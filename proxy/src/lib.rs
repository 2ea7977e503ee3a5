//! The VMM's side of an Outrigger device.

#[cfg(all(feature = "vmm", target_arch = "x86_64"))]
mod kvm;
pub mod port;
#[cfg(all(feature = "vmm", target_arch = "x86_64"))]
pub mod vmm;
