//! Other programs that tests start.

use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

static SPAWN: Mutex<()> = Mutex::new(());

/// Nothing is started as long as this lives. A process that is being started has all descriptors of this one for a moment,
/// and with them the locks on images: who is to find free what it has locked itself does both while none is. (Those that
/// were started before may still be at it: the kernel goes on here before it closes descriptors there.)
pub(crate) fn none_starts() -> MutexGuard<'static, ()> {
    SPAWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a program.
pub(crate) fn spawn(command: &mut Command) -> std::io::Result<Child> {
    let _alone = none_starts();
    command.spawn()
}
