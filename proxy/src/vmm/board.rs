//! Step 1, guest exit: what the machine does with a vCPU's access that is not to RAM.
//!
//! Ports of the machine itself, the PCI host bridge with its two ports, and else the device. What nothing decodes
//! reads all ones and swallows writes.

use std::sync::Arc;
use std::time::Instant;

use super::bus::GuestBus;
use super::guest::layout::port;
use super::report::{Exits, VcpuReport};

mod host_bridge;

pub(super) use host_bridge::HostBridge;

/// One vCPU's surroundings.
#[derive(Debug)]
pub(crate) struct Board {
    bus: Box<dyn GuestBus>,
    bridge: Arc<HostBridge>,
    counters: VcpuReport,
    switches_before: u64,
    began_work: Option<Instant>,
    reported: Option<u32>,
}

/// The debug port's text is kept up to this length.
const MESSAGE_LIMIT: usize = 4096;

impl Board {
    pub(super) fn new(bus: Box<dyn GuestBus>, bridge: Arc<HostBridge>) -> Self {
        Self {
            bus,
            bridge,
            counters: VcpuReport::default(),
            switches_before: 0,
            began_work: None,
            reported: None,
        }
    }

    /// The word that the vCPU wrote to the report port.
    pub(crate) const fn reported(&self) -> Option<u32> {
        self.reported
    }

    /// To be called on the vCPU's thread before it runs: counting begins.
    pub(crate) fn begin(&mut self) {
        self.switches_before = context_switches();
    }

    /// To be called on the vCPU's thread after its end.
    pub(crate) fn end(&mut self) {
        self.counters.context_switches = context_switches().saturating_sub(self.switches_before);
    }

    /// The bus, what was counted, and when the work began.
    pub(super) fn into_parts(self) -> (Box<dyn GuestBus>, VcpuReport, Option<Instant>) {
        (self.bus, self.counters, self.began_work)
    }

    /// Counts an exit to user space.
    pub(crate) fn exits(&mut self) -> &mut Exits {
        &mut self.counters.exits
    }

    /// An IN instruction.
    pub(crate) fn port_read(&mut self, at: u16, data: &mut [u8]) {
        data.fill(0xff);
        if let Some(forwarded) = self.bridge.read(self.bus.as_mut(), at, data) {
            self.counters.accesses.config_reads += u64::from(forwarded);
            return;
        }
        let start = Instant::now();
        if self.bus.pio_read(at, data) {
            self.counters.accesses.reads += 1;
            self.counters.read_latency.record(start.elapsed());
        }
    }

    /// An OUT instruction.
    pub(crate) fn port_write(&mut self, at: u16, data: &[u8]) {
        match at {
            port::DEBUG => {
                let room = MESSAGE_LIMIT.saturating_sub(self.counters.messages.len());
                return self.counters.messages.extend(data.iter().take(room));
            }
            port::REPORT => {
                let mut word = [0; 4];
                word.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
                self.reported = Some(u32::from_le_bytes(word));
                return;
            }
            port::MARK => return self.mark(),
            _ => {}
        }
        if let Some(forwarded) = self.bridge.write(self.bus.as_mut(), at, data) {
            self.counters.accesses.config_writes += u64::from(forwarded);
            return;
        }
        let start = Instant::now();
        if self.bus.pio_write(at, data) {
            self.counters.accesses.writes += 1;
            self.counters.write_latency.record(start.elapsed());
        }
    }

    /// A read of memory that is not RAM.
    pub(crate) fn memory_read(&mut self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        let start = Instant::now();
        if self.bus.mmio_read(address, data) {
            self.counters.accesses.reads += 1;
            self.counters.read_latency.record(start.elapsed());
        }
    }

    /// A write to memory that is not RAM.
    pub(crate) fn memory_write(&mut self, address: u64, data: &[u8]) {
        let start = Instant::now();
        if self.bus.mmio_write(address, data) {
            self.counters.accesses.writes += 1;
            self.counters.write_latency.record(start.elapsed());
        }
    }

    /// The device is set up, the work begins: what was counted so far is kept apart.
    fn mark(&mut self) {
        let before = std::mem::take(&mut self.counters);
        self.counters.setup_exits = before.exits;
        self.counters.setup_accesses = before.accesses;
        self.counters.messages = before.messages;
        self.switches_before = context_switches();
        self.began_work = Some(Instant::now());
    }
}

/// Context switches of the calling thread so far, voluntary and not; 0 where the kernel does not say.
fn context_switches() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status
        .lines()
        .filter(|line| line.contains("ctxt_switches:"))
        .filter_map(|line| line.rsplit('\t').next()?.trim().parse::<u64>().ok())
        .sum()
}

#[cfg(test)]
mod tests;
