//! What a device is: the contract between a PCI function's shell and the chip inside it.
//!
//! One worker thread owns a device; nothing here is shared, so no device needs a lock. The worker
//! calls [`Device::write`] and [`Device::read`] for the guest's accesses and [`Device::run`] until
//! it says [`Progress::Idle`]; all three are bounded.

mod access_map;
mod bar_memory;

use std::io;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use crate::dma::Gate;
pub use access_map::{
    Claimed, MAX_READ_TO_CLEAR, MemoryRange, Mirror, Mirrored, MirroredRegister, ReadToClearGroup,
    Snapshot, Snapshots,
};
pub use bar_memory::BarMemory;
pub use outrigger_ring::Width;

/// What identifies a device in PCI config space (PCI 3.0, section 6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Vendor ID, offset 0x00.
    pub vendor: u16,
    /// Device ID, offset 0x02.
    pub device: u16,
    /// Revision ID, offset 0x08.
    pub revision: u8,
    /// Programming interface, sub-class and base class, offsets 0x09 to 0x0b, as 0xBBSSPP.
    pub class: u32,
    /// Subsystem vendor ID, offset 0x2c.
    pub subsystem_vendor: u16,
    /// Subsystem ID, offset 0x2e.
    pub subsystem: u16,
    /// Interrupt pin, offset 0x3d: 1 is INTA, 0 none.
    pub interrupt_pin: u8,
    /// Cache line size is writable and reads 0 at reset; the latency timer reads this at reset.
    pub latency_timer: u8,
    /// MIN_GNT, offset 0x3e.
    pub min_gnt: u8,
    /// MAX_LAT, offset 0x3f.
    pub max_lat: u8,
}

/// Which address space a BAR decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// Port I/O.
    Io,
    /// 32-bit memory, not prefetchable.
    Memory,
}

/// One base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// Its number, 0 to 5.
    pub index: u8,
    /// Its address space.
    pub kind: BarKind,
    /// Bytes decoded: a power of two, at least 4 (I/O) or 16 (memory).
    pub size: u32,
}

/// What a device may use of its surroundings during one call.
#[derive(Debug)]
pub struct Context<'a> {
    /// The way to guest RAM.
    pub dma: &'a Gate,
    /// The worker's clock, read once per turn of the loop.
    pub now: Instant,
}

/// What a device has done for its guest since it was made. No reset sets it back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Requests that ended with a status.
    pub requests: u64,
    /// Bytes of their data, either way.
    pub bytes: u64,
}

/// Whether a bounded run left work behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to do until an access, a wake fd or the deadline.
    Idle,
    /// The budget ran out: call again after the fronts had their turn.
    More,
}

/// A device behind a PCI function.
///
/// No method may panic, block on a peer or loop without bound, whatever the guest wrote.
pub trait Device: Send + std::fmt::Debug {
    /// Who it is; constant.
    fn identity(&self) -> Identity;

    /// Its BARs; constant.
    fn bars(&self) -> &[Bar];

    /// Reads `width` bytes at `offset` of BAR `bar`. The caller has checked that they lie within the
    /// BAR; alignment is the guest's. The value's unused high bits are zero.
    fn read(&mut self, context: &mut Context<'_>, bar: u8, offset: u64, width: Width) -> u64;

    /// Writes `width` bytes at `offset` of BAR `bar`; the same terms as [`Device::read`].
    fn write(&mut self, context: &mut Context<'_>, bar: u8, offset: u64, width: Width, value: u64);

    /// As [`Device::write`] of one byte, for a plain write to a mirrored register that clears its bit: it does so only if the
    /// register's count of events is still `seen`. An event that the writer could not know of stays.
    fn write_seen(
        &mut self,
        context: &mut Context<'_>,
        bar: u8,
        offset: u64,
        value: u8,
        seen: u32,
    ) {
        let _ = seen;
        self.write(context, bar, offset, Width::Byte, value.into());
    }

    /// The registers that may be mirrored; constant, at most [`outrigger_ring::MAX_MIRRORED`] of them.
    fn mirrored_registers(&self) -> &[MirroredRegister] {
        &[]
    }

    /// A mirrored register as it is now; `None` from the first number on that has none.
    fn mirrored(&self, register: u32) -> Option<Mirrored> {
        let _ = register;
        None
    }

    /// The places of its read-to-clear groups; constant.
    fn read_to_clear_groups(&self) -> &[ReadToClearGroup] {
        &[]
    }

    /// What reads of the read-to-clear groups would give now, by group: only what they do plainly, as [`Snapshot`] says, and only while the device
    /// stands still until it is told of something. It may publish fewer.
    fn snapshots(&self) -> Snapshots {
        Snapshots::default()
    }

    /// A client has claimed the snapshot of this group: the device clears the group, as by [`Device::read`].
    fn claim(&mut self, group: u32) {
        let _ = group;
    }

    /// Ranges of its BARs that are memory and nothing else, for the client to map into its guest: whole pages, at most 16. The guest's accesses
    /// to them do not come through [`Device::read`] and [`Device::write`] from then on, and are not ordered behind posted ones.
    ///
    /// # Errors
    /// Out of descriptors or memory; nothing has changed.
    fn share_memory(&mut self) -> io::Result<Vec<MemoryRange>> {
        Ok(Vec::new())
    }

    /// The client that [`Device::share_memory`] was for has gone: what is in the memory from now on is not for it.
    fn unshare_memory(&mut self) {}

    /// Tells where BAR `bar` decodes now; `None` while its decode is off. A chip that compares
    /// addresses with its own windows needs it.
    fn bar_moved(&mut self, bar: u8, base: Option<u64>);

    /// Does a bounded slice of work: completions, timers, instructions.
    ///
    /// A mirrored register that changes is shown to `mirror` before any DMA that follows, and before the return. Before the device
    /// does anything that a mirrored register, a snapshot or guest RAM shows, it calls [`Mirror::revoke`]; a slice that finds nothing to do
    /// does not. What the slice
    /// begins with sees the effect of all writes that the guest made before the slice; the rest may not. So a
    /// step that looks at bits that plain writes change comes first in a slice: the device returns
    /// [`Progress::More`] in front of it.
    fn run(&mut self, context: &mut Context<'_>, mirror: &mut dyn Mirror) -> Progress;

    /// When [`Device::run`] must be called although nothing else happens.
    fn deadline(&self) -> Option<Instant>;

    /// Whether the interrupt line is asserted (level).
    fn interrupt(&self) -> bool;

    /// What it has done so far.
    fn work(&self) -> Work {
        Work::default()
    }

    /// PCI reset: everything to its power-on state. No DMA happens after it returns.
    fn reset(&mut self, context: &mut Context<'_>);

    /// What is behind the device may have changed (an image's size, the space that it has): it looks again.
    fn refresh(&mut self) {}

    /// Waits until no transfer to or from guest RAM is in flight; requests are kept. Called before
    /// a region of guest RAM is taken away.
    fn quiesce(&mut self, context: &mut Context<'_>);

    /// Descriptors that become readable when [`Device::run`] should be called; constant.
    fn wake_fds(&self) -> Vec<BorrowedFd<'_>>;
}
