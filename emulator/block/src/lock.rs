//! Step 9, block: locks on image files, the same that QEMU and its tools take.
//!
//! QEMU describes what a user of an image does, and what it lets others do, by five permissions. Each one that is used is
//! a shared lock on the byte `100 + permission`, each one that is denied to others a shared lock on `200 + permission`.
//! Locks belong to the open file, so they end with it, whatever happens to the process. A user asks afterwards whether
//! another one denies what it uses or uses what it denies; so of two that come at once at least one sees the other.

mod sys;

use std::fs::File;
use std::io;

use rustix::io::Errno;

/// Whether to lock image files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locking {
    /// Where the file system has locks.
    #[default]
    Auto,
    /// A file system without locks is an error.
    On,
    /// Not at all.
    Off,
}

/// Why an image could not be locked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Someone else writes it, or wants nobody to write it.
    #[error("another process {0} it")]
    Held(&'static str),
    /// The file system has no such locks.
    #[error("it cannot be locked: {0}")]
    Unsupported(io::Error),
}

/// The number of a permission in QEMU.
#[derive(Clone, Copy)]
struct Permission {
    number: i64,
    /// What someone does who uses it.
    used: &'static str,
    /// What someone does who denies it.
    denied: &'static str,
}

const READ: Permission = Permission {
    number: 0,
    used: "reads",
    denied: "has exclusive use of",
};
const WRITE: Permission = Permission {
    number: 1,
    used: "writes",
    denied: "uses",
};
const RESIZE: Permission = Permission {
    number: 3,
    used: "resizes",
    denied: "uses",
};

/// The first byte that says what is used.
const USED: i64 = 100;
/// The first byte that says what is denied.
const DENIED: i64 = 200;

/// Locks an image: others may read it, and nobody else may write it.
///
/// # Errors
/// If someone else already has it in a way that does not go together with that.
pub fn lock(file: &File, writable: bool, locking: Locking) -> Result<(), LockError> {
    if locking == Locking::Off {
        return Ok(());
    }
    match take(file, writable) {
        Err(LockError::Unsupported(error)) if locking == Locking::Auto => {
            tracing::warn!(%error, "an image cannot be locked: nothing keeps another process from writing it");
            Ok(())
        }
        outcome => outcome,
    }
}

fn take(file: &File, writable: bool) -> Result<(), LockError> {
    let used: &[Permission] = if writable {
        &[READ, WRITE, RESIZE]
    } else {
        &[READ]
    };
    let denied = [WRITE, RESIZE];
    let marks = used.iter().map(|it| USED + it.number);
    for byte in marks.chain(denied.iter().map(|it| DENIED + it.number)) {
        sys::mark(file, byte).map_err(|error| match Errno::from_io_error(&error) {
            // Only someone who does not keep to the scheme locks these bytes exclusively.
            Some(Errno::AGAIN | Errno::ACCESS) => LockError::Held("locks"),
            _ => LockError::Unsupported(error),
        })?;
    }
    for permission in used {
        if sys::is_marked(file, DENIED + permission.number).map_err(LockError::Unsupported)? {
            return Err(LockError::Held(permission.denied));
        }
    }
    for permission in denied {
        if sys::is_marked(file, USED + permission.number).map_err(LockError::Unsupported)? {
            return Err(LockError::Held(permission.used));
        }
    }
    Ok(())
}
