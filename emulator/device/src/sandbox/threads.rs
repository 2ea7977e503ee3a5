//! The one thread that a process must have when it enters.

use std::thread;
use std::time::{Duration, Instant};

use super::SandboxError;

/// How long a thread that has been joined may take until the kernel no longer counts it: it needs a CPU once more.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until the calling thread is the only one. Nothing tells of a thread's last moment, so it looks again and again.
///
/// Where `/proc` does not say, there is nothing to wait for: the kernel itself refuses a user namespace to several threads.
pub(super) fn wait_until_alone(patience: Duration) -> Result<(), SandboxError> {
    let start = Instant::now();
    loop {
        let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        if threads <= 1 {
            return Ok(());
        }
        if start.elapsed() >= patience {
            return Err(SandboxError::Threads(threads));
        }
        thread::sleep(Duration::from_micros(100));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_thread_keeps_the_sandbox_open() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let other = thread::spawn(move || ended.recv());
        let refused = wait_until_alone(Duration::ZERO);
        assert!(matches!(refused, Err(SandboxError::Threads(2..))));
        drop(end);
        let _ = other.join();
    }
}
