//! The signal that gets a vCPU's thread out of KVM_RUN.
//!
//! It may arrive just before the thread enters KVM_RUN and is lost then. So who wants a vCPU to stop sets its stop
//! flag, which the thread looks at before each entry, and kicks until the thread has ended.

use std::ffi::c_int;
use std::sync::OnceLock;
use std::thread::JoinHandle;

use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

use crate::error::VmmError;

/// Receiving the signal is all: KVM_RUN returns EINTR.
extern "C" fn on_kick(_: c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// Installs the handler, once per process.
pub(crate) fn install_kick() -> Result<(), VmmError> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    INSTALLED
        .get_or_init(|| {
            register_signal_handler(SIGRTMIN(), on_kick).map_err(|error| error.to_string())
        })
        .clone()
        .map_err(|reason| VmmError::Kvm {
            what: "installing the vCPU signal's handler",
            reason,
        })
}

/// Interrupts the thread's KVM_RUN, if it is in one. No effect on a thread that has ended.
pub(crate) fn kick<T>(thread: &JoinHandle<T>) {
    if !thread.is_finished() {
        // Fails only for a thread that has just ended.
        let _ = thread.kill(SIGRTMIN());
    }
}
