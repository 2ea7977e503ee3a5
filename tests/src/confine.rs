//! What a host or a container can keep from a process: system calls, capabilities, a user, descriptors, memory. Each applies
//! to the calling thread and to what it starts.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// System calls that fail, and the error.
pub type Denied = (i32, Vec<(i64, Vec<SeccompRule>)>);

/// These system calls fail with this error.
#[must_use]
pub fn denied(errno: i32, calls: &[i64]) -> Denied {
    let calls = calls.iter().map(|call| (*call, Vec::new()));
    (errno, calls.collect())
}

/// The system call fails if its first argument has any of these flags.
///
/// # Panics
/// If seccompiler does not know such a rule.
#[must_use]
pub fn denied_flags(errno: i32, call: i64, flags: &[u64]) -> Denied {
    let has = |flag: &u64| {
        let mask = SeccompCmpOp::MaskedEq(*flag);
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Qword, mask, *flag);
        SeccompRule::new(vec![condition.expect("a condition")]).expect("a rule")
    };
    (errno, vec![(call, flags.iter().map(has).collect())])
}

/// Denies the calls to this thread and to what it starts.
///
/// # Errors
/// If the kernel takes no filter.
pub fn deny(calls: &[Denied]) -> Result<()> {
    for (errno, calls) in calls {
        let rules: BTreeMap<_, _> = calls.iter().cloned().collect();
        let filter = SeccompFilter::new(
            rules,
            SeccompAction::Allow,
            SeccompAction::Errno(errno.unsigned_abs()),
            std::env::consts::ARCH.try_into()?,
        )?;
        let program: BpfProgram = filter.try_into()?;
        apply_filter(&program).context("a system call filter")?;
    }
    Ok(())
}

/// What a program that this thread starts as root has at most.
///
/// # Errors
/// If the thread has no right to give capabilities up.
pub fn keep_capabilities(kept: CapabilitySet) -> io::Result<()> {
    for capability in CapabilitySet::all().iter().filter(|it| !kept.contains(*it)) {
        match remove_capability_from_bounding_set(capability) {
            // The kernel does not know this one.
            Err(rustix::io::Errno::INVAL) => {}
            outcome => outcome?,
        }
    }
    Ok(())
}

/// A control group with a limit of memory, removed when it is dropped.
#[derive(Debug)]
pub struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// One below this process's own.
    ///
    /// # Errors
    /// If this process may not make one.
    pub fn new(bytes: u64) -> Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let of = |controller: &str| {
            let line = own
                .lines()
                .find(|line| line.split(':').nth(1) == Some(controller))?;
            line.splitn(3, ':')
                .nth(2)
                .map(|it| it.trim_start_matches('/').to_owned())
        };
        let (root, own, limit) = match of("memory") {
            Some(own) => ("/sys/fs/cgroup/memory", own, "memory.limit_in_bytes"),
            None => (
                "/sys/fs/cgroup",
                of("").context("no control group")?,
                "memory.max",
            ),
        };
        let name = format!("outrigger-test-{}", std::process::id());
        // Where the own group has processes, version 2 lets only its parent have a group with limits beside it.
        let own = Path::new(root).join(own);
        let mut refused = None;
        for parent in own.ancestors().take_while(|it| it.starts_with(root)) {
            let path = parent.join(&name);
            match fs::create_dir(&path) {
                Ok(()) => {
                    let group = Self(path);
                    match fs::write(group.0.join(limit), bytes.to_string()) {
                        Ok(()) => return Ok(group),
                        Err(error) => refused = Some(error),
                    }
                }
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.map_or_else(|| anyhow::anyhow!("no group"), Into::into))
    }

    /// Where a process writes its id to be in it.
    #[must_use]
    pub fn entrance(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Once its last process has been reaped.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Whether a command of the host succeeds, such as one that makes a mount namespace.
#[must_use]
pub fn works(program: &str, arguments: &[&str]) -> bool {
    let output = Command::new(program).args(arguments).output();
    output.is_ok_and(|output| output.status.success())
}
