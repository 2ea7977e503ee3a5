//! Step 1, guest exit: what the machine does with a vCPU's access that is not to RAM.
//!
//! Ports of the machine itself, the PCI host bridge with its two ports, and else the device. What nothing decodes
//! reads all ones and swallows writes.

use std::sync::Arc;
use std::time::Instant;

use crate::guest::layout::port;
use crate::report::{Exits, VcpuReport};
use outrigger_proxy::Counters;
use outrigger_proxy::VcpuPort;

mod host_bridge;

pub(crate) use host_bridge::HostBridge;

/// One vCPU's surroundings.
#[derive(Debug)]
pub(crate) struct Board {
    device: VcpuPort,
    bridge: Arc<HostBridge>,
    counters: VcpuReport,
    switches_before: u64,
    costs_before: Counters,
    began_work: Option<Instant>,
    reported: Option<u32>,
}

/// The debug port's text is kept up to this length.
const MESSAGE_LIMIT: usize = 4096;

impl Board {
    pub(crate) fn new(device: VcpuPort, bridge: Arc<HostBridge>) -> Self {
        Self {
            device,
            bridge,
            counters: VcpuReport::default(),
            switches_before: 0,
            costs_before: Counters::default(),
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
        self.costs_before = self.device.counters();
    }

    /// To be called on the vCPU's thread after its end.
    pub(crate) fn end(&mut self) {
        self.counters.context_switches = context_switches().saturating_sub(self.switches_before);
        self.counters.costs = self.device.counters().since(self.costs_before);
    }

    /// The device, what was counted, and when the work began.
    pub(crate) fn into_parts(self) -> (VcpuPort, VcpuReport, Option<Instant>) {
        (self.device, self.counters, self.began_work)
    }

    /// Counts an exit to user space.
    pub(crate) fn exits(&mut self) -> &mut Exits {
        &mut self.counters.exits
    }

    /// How often the device was read and written so far, config space apart.
    pub(crate) const fn accesses(&self) -> (u64, u64) {
        (self.counters.accesses.reads, self.counters.accesses.writes)
    }

    /// An IN instruction.
    pub(crate) fn port_read(&mut self, at: u16, data: &mut [u8]) {
        data.fill(0xff);
        if let Some(forwarded) = self.bridge.read(&mut self.device, at, data) {
            self.counters.accesses.config_reads += u64::from(forwarded);
            return;
        }
        let start = Instant::now();
        if self.device.pio_read(at, data) {
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
        if let Some(forwarded) = self.bridge.write(&mut self.device, at, data) {
            self.counters.accesses.config_writes += u64::from(forwarded);
            return;
        }
        let start = Instant::now();
        if self.device.pio_write(at, data) {
            self.counters.accesses.writes += 1;
            self.counters.write_latency.record(start.elapsed());
        }
    }

    /// A read of memory that is not RAM.
    pub(crate) fn memory_read(&mut self, address: u64, data: &mut [u8]) {
        data.fill(0xff);
        let start = Instant::now();
        if self.device.mmio_read(address, data) {
            self.counters.accesses.reads += 1;
            self.counters.read_latency.record(start.elapsed());
        }
    }

    /// A write to memory that is not RAM.
    pub(crate) fn memory_write(&mut self, address: u64, data: &[u8]) {
        let start = Instant::now();
        if self.device.mmio_write(address, data) {
            self.counters.accesses.writes += 1;
            self.counters.write_latency.record(start.elapsed());
        }
    }

    /// The guest has acknowledged the device's interrupt. Whether the device knows already.
    pub(crate) fn end_of_interrupt(&mut self) -> bool {
        self.device.end_of_interrupt()
    }

    /// The device is set up, the work begins: what was counted so far is kept apart.
    fn mark(&mut self) {
        let before = std::mem::take(&mut self.counters);
        self.counters.setup_exits = before.exits;
        self.counters.setup_accesses = before.accesses;
        self.counters.messages = before.messages;
        self.switches_before = context_switches();
        self.costs_before = self.device.counters();
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
