//! What one vCPU's accesses cost, counted.

/// Counts of one vCPU's accesses since attach. Plain numbers: the vCPU's thread owns them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Requests that the vCPU waited for: reads of BARs and of config space, non-posted writes.
    pub crossings: u64,
    /// Reads of BARs answered from the register mirror, or by a claimed snapshot of registers that
    /// a read clears, without asking the emulator.
    pub mirror_reads: u64,
    /// Writes sent without waiting.
    pub posted_writes: u64,
    /// Config reads answered from the proxy's shadow, without asking the emulator.
    pub shadow_reads: u64,
    /// Accesses answered with all ones, or dropped, because the device is dead.
    pub dead_accesses: u64,
}

impl Counters {
    /// The sum of two vCPUs' counts.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            crossings: self.crossings.wrapping_add(other.crossings),
            mirror_reads: self.mirror_reads.wrapping_add(other.mirror_reads),
            posted_writes: self.posted_writes.wrapping_add(other.posted_writes),
            shadow_reads: self.shadow_reads.wrapping_add(other.shadow_reads),
            dead_accesses: self.dead_accesses.wrapping_add(other.dead_accesses),
        }
    }

    /// What was counted since `earlier`, an older copy of the same counters.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            crossings: self.crossings.wrapping_sub(earlier.crossings),
            mirror_reads: self.mirror_reads.wrapping_sub(earlier.mirror_reads),
            posted_writes: self.posted_writes.wrapping_sub(earlier.posted_writes),
            shadow_reads: self.shadow_reads.wrapping_sub(earlier.shadow_reads),
            dead_accesses: self.dead_accesses.wrapping_sub(earlier.dead_accesses),
        }
    }
}
