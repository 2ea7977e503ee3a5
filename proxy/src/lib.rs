//! The VMM's side of a device that runs in a process of its own.
//!
//! A VMM links this library and attaches to an emulator. It keeps its vCPU loop and its guest
//! memory; the device's code, and what a hostile guest can do to it, is elsewhere. Nothing here
//! knows one device from another: identity, BARs and interrupt come from the emulator.
//!
//! # Quick start
//! ```no_run
//! use outrigger_proxy::{EmulatorCommand, Intx, Proxy, ProxyOptions, Width, guest_memory};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One emulator, one port for each of two vCPUs.
//! let command = EmulatorCommand::new("outrigger-emulator", "lsi0")
//!     .args(["--blockdev", "driver=file,node-name=disk0,filename=disk.img"])
//!     .args(["--device", "lsi53c895a,id=lsi0"])
//!     .args(["--device", "scsi-hd,bus=lsi0.0,scsi-id=0,drive=disk0"]);
//! let options = ProxyOptions { vcpus: 2, ..ProxyOptions::default() };
//! let (proxy, mut ports) = Proxy::spawn(command, options)?;
//!
//! // Guest RAM that both processes map: 128 MiB at address 0.
//! let ram = guest_memory::memfd(128 << 20)?;
//! proxy.add_ram(0, 128 << 20, &ram, 0)?;
//!
//! // With KVM: vm.register_irqfd_with_resample(intx.trigger(), intx.resample(), gsi)
//! let intx = Intx::new()?;
//! proxy.enable_interrupt(&intx)?;
//!
//! // With KVM: proxy.map_memory(MappedBy::Mapper(Box::new(what_makes_memory_slots)))
//! for memory in proxy.memories() {
//!     println!("{:#x} bytes behind BAR {}", memory.size(), memory.region());
//! }
//!
//! // In each vCPU's thread, at its exits: by region and offset, or by guest address.
//! let port = &mut ports[0];
//! let vendor = port.config_read(0x00, Width::Word);
//! let mut data = [0; 4];
//! port.read(1, 0x14, &mut data);
//! if !port.mmio_read(0xfebf_0000, &mut data) {
//!     // Not this device's address: ask the next one.
//! }
//!
//! // In the VMM's event loop, when `proxy.event_fd()` is readable:
//! if let Some(event) = proxy.take_event() {
//!     eprintln!("the device is gone: {event:?}");
//! }
//! proxy.detach()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What fits which VMM
//!
//! | the VMM has | it uses |
//! |---|---|
//! | vCPU numbers at each access | one [`VcpuPort`] for each vCPU: no lock |
//! | `&self`, any thread, no number | [`SharedPort`] |
//! | (BAR, offset) | `read`, `write` |
//! | a bare guest address | `mmio_read`, `mmio_write`, `pio_read`, `pio_write` |
//! | RAM as address, size, descriptor, offset | [`Proxy::add_ram`], [`Proxy::remove_ram`] |
//! | eventfds of its own, or an irqfd | [`Line::Resampled`], [`Line::Triggered`], or an [`Intx`] that the proxy makes |
//! | an interrupt pin to call | [`Line::Call`] |
//! | a BAR's memory that it maps by itself, or wants to be told where | [`MappedBy::Vmm`], [`MappedBy::Mapper`] |
//! | RAM in `vm-memory`'s types | `Proxy::attach_memory` (feature `vm-memory`, on by default) |
//!
//! `examples/embed` is a whole VMM around this: `kvm-ioctls`, `GuestMemoryMmap`, an irqfd, memory
//! slots and a vCPU's loop.
//!
//! # What an emulator can do to the VMM
//! It can answer wrongly, late or not at all; it can end. All it says about its device is checked
//! at attach, and every reply when it comes. The guest's addresses are decoded here, from the
//! guest's own writes. Each wait has a deadline. Whatever goes wrong, the device is dead from then
//! on: reads are all ones, writes are dropped, no vCPU waits, and the VMM gets one [`Event`]. Guest
//! RAM is shared with the emulator by design: it may write any of it at any time, as a device with
//! DMA can.

mod access_map;
mod bar_memory;
mod bars;
mod config_space;
mod control;
mod counters;
mod decode;
mod description;
mod dial;
mod error;
pub mod guest_memory;
mod health;
pub mod in_process;
mod interrupt;
mod line;
mod link;
mod options;
mod peer;
pub mod port;
mod proxy;
mod ram;
mod shared_port;
mod vcpu_port;
mod watch;

pub use access_map::MapError;
pub use bar_memory::{BarMemory, MapMemory, MappedBy};
pub use bars::BarError;
pub use config_space::ConfigError;
pub use counters::Counters;
pub use description::{Description, REGIONS, Region};
pub use error::Error;
pub use health::Event;
pub use interrupt::Intx;
pub use line::{Line, LineThread};
pub use options::{Endpoint, ProxyOptions, Transport, UnsealedMemory};
pub use outrigger_ring::{Access, SetupError, Statistics, Width};
pub use outrigger_vfio_user::Command;
pub use peer::{Emulator, EmulatorCommand, SpawnError};
pub use proxy::Proxy;
pub use shared_port::SharedPort;
pub use vcpu_port::VcpuPort;

/// What decides where an access goes, for this crate's fuzz targets. No part of the interface: it
/// changes at any time.
#[doc(hidden)]
pub mod internals {
    pub use crate::access_map::AccessMap;
    pub use crate::bars::{Bar, BarSet, SLOTS, Space};
    pub use crate::config_space::{ConfigSpace, HEADER};
    pub use crate::decode::{Hit, Windows};
}

/// The program of the crate's README compiles as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
