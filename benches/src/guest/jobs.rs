//! What fio does in the guest.

use std::fmt;

/// One job of fio's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Job {
    /// fio's name of the pattern.
    pub(super) pattern: Pattern,
    /// Queue depth.
    pub(super) depth: u32,
}

/// fio's `rw`, with its block size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pattern {
    RandRead,
    RandWrite,
    Read,
    Write,
}

impl Pattern {
    /// fio's name of it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::RandRead => "randread",
            Self::RandWrite => "randwrite",
            Self::Read => "read",
            Self::Write => "write",
        }
    }

    /// Bytes of a request: 4 KiB at random places, 128 KiB in sequence.
    pub(super) const fn block_bytes(self) -> u32 {
        match self {
            Self::RandRead | Self::RandWrite => 4 << 10,
            Self::Read | Self::Write => 128 << 10,
        }
    }
}

impl Job {
    pub(super) const fn writes(self) -> bool {
        matches!(self.pattern, Pattern::RandWrite | Pattern::Write)
    }
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.pattern.block_bytes() >> 10;
        f.pad(&format!("{} {kib}k", self.pattern.name()))
    }
}

const fn job(pattern: Pattern, depth: u32) -> Job {
    Job { pattern, depth }
}

/// All jobs, in order.
pub(super) const JOBS: [Job; 12] = [
    job(Pattern::RandRead, 1),
    job(Pattern::RandRead, 4),
    job(Pattern::RandRead, 16),
    job(Pattern::RandRead, 32),
    job(Pattern::RandWrite, 1),
    job(Pattern::RandWrite, 4),
    job(Pattern::RandWrite, 16),
    job(Pattern::RandWrite, 32),
    job(Pattern::Read, 1),
    job(Pattern::Read, 8),
    job(Pattern::Write, 1),
    job(Pattern::Write, 8),
];

/// The jobs whose system calls are counted.
pub(super) const COUNTED: [Job; 2] = [job(Pattern::RandRead, 1), job(Pattern::RandRead, 32)];

/// The guest's script: each job waits for `pause` seconds and prints `RESULT begin`, `RESULT end` and `RESULT fio <interrupts>;<fio's terse line>`.
pub(super) fn script(jobs: &[Job], seconds: u32, pause: u32) -> String {
    let mut script = String::from(
        r#"load_driver 1 cmd_per_lun=64
irqs() { awk '/sym53c8xx/ { for (i = 2; i <= NF && $i ~ /^[0-9]+$/; i++) sum += $i } END { print sum + 0 }' /proc/interrupts; }
job() {
    before=$(irqs)
    result begin
    sleep $pause
    line=$(fio --name=job --filename=/dev/sda --ioengine=libaio --direct=1 --time_based --minimal "$@")
    result end
    result fio "$(($(irqs) - before));$line"
}
"#,
    );
    script.push_str(&format!("pause={pause}\n"));
    for job in jobs {
        script.push_str(&format!(
            "job --rw={} --bs={} --iodepth={} --runtime={seconds}\n",
            job.pattern.name(),
            job.pattern.block_bytes(),
            job.depth
        ));
    }
    script.push_str("check no-complaint test -z \"$(complaints)\"\ncomplaints\n");
    script
}
