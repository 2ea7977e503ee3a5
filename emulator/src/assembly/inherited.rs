//! Descriptors that the process inherited: those that the command line names are kept by their numbers until everything
//! is open, all others are closed at once.

mod sys;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::io::Errno;

use crate::config::blockdev::Locking;
use crate::config::export::Socket;
use crate::config::{Config, OptionError, Problem};
use outrigger_block::{DescriptorError, DescriptorUse, descriptor_named_by, open_behind};

/// The inherited descriptors that the command line names. Those still open are closed when this is dropped.
#[derive(Debug)]
pub struct Inherited {
    named: BTreeMap<RawFd, OwnedFd>,
    /// Which of them images use, and whether one writes.
    images: RefCell<BTreeMap<RawFd, bool>>,
}

impl Inherited {
    /// Takes over the descriptors that the command line names, and closes all others but the standard ones. To be
    /// called once, before the process has opened anything itself.
    ///
    /// # Errors
    /// If an image and an export name the same one.
    pub fn take(config: &Config) -> Result<Self, OptionError> {
        let mut numbers: Vec<RawFd> = Vec::new();
        for export in &config.exports {
            if let Socket::Descriptor(number) = export.socket {
                numbers.push(number);
            }
        }
        let sockets = numbers.clone();
        for (place, filename) in config.blockdevs.iter().flat_map(|it| it.files()) {
            let Some(number) = descriptor_named_by(filename) else {
                continue;
            };
            if sockets.contains(&number) {
                return Err(place.error(Problem::refused(
                    format!("descriptor {number} is an export's socket"),
                    "pass the image under another number",
                )));
            }
            numbers.push(number);
        }
        numbers.retain(|number| *number > LAST_STANDARD);
        numbers.sort_unstable();
        numbers.dedup();
        // Before Linux 5.9, and in some containers, the kernel does not close a range.
        if let Err(error) = close_all_but(&numbers).or_else(|_| close_each_but(&numbers)) {
            tracing::warn!(%error, "descriptors that were inherited stay open");
        }
        let named = numbers.into_iter().filter_map(|number| {
            let fd = sys::adopt(number).ok()?;
            // It is not a program's that this process might start.
            rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).ok()?;
            Some((number, fd))
        });
        Ok(Self {
            named: named.collect(),
            images: RefCell::default(),
        })
    }

    /// Gives a descriptor away.
    pub(super) fn remove(&mut self, number: RawFd) -> Result<OwnedFd, Errno> {
        self.named.remove(&number).ok_or(Errno::BADF)
    }

    fn get(&self, number: RawFd) -> Option<BorrowedFd<'_>> {
        match number {
            0 => Some(rustix::stdio::stdin()),
            1 => Some(rustix::stdio::stdout()),
            2 => Some(rustix::stdio::stderr()),
            _ => self.named.get(&number).map(AsFd::as_fd),
        }
    }

    /// Opens the image behind a descriptor, if the file name means one.
    pub(super) fn open(
        &self,
        filename: &Path,
        usage: DescriptorUse,
        locking: Locking,
    ) -> Option<Result<File, Problem>> {
        let number = descriptor_named_by(filename)?;
        Some(self.open_number(number, filename, usage, locking))
    }

    fn open_number(
        &self,
        number: RawFd,
        filename: &Path,
        usage: DescriptorUse,
        locking: Locking,
    ) -> Result<File, Problem> {
        let name = filename.display();
        let refuse = |why: String, mend: &str| {
            Problem::refused(
                format!("cannot use '{name}': descriptor {number} {why}"),
                mend,
            )
        };
        let Some(fd) = self.get(number) else {
            return Err(refuse(
                "is not open".to_owned(),
                "let the parent leave the image open under that number",
            ));
        };
        // Two users of one open file share its locks, which therefore do not part them.
        let mut images = self.images.borrow_mut();
        let writes = !usage.read_only;
        let before = images.insert(number, writes);
        if before.is_some_and(|wrote| wrote || writes) && locking != Locking::Off {
            return Err(refuse(
                "is used by another node".to_owned(),
                "leave one out, or add read-only=on to both",
            ));
        }
        open_behind(fd, usage).map_err(|error| {
            let both = format!("open it for both, such as by {number}<>FILE in a shell");
            let mend = match error {
                DescriptorError::ReadOnly => format!("{both}, or add read-only=on"),
                DescriptorError::WriteOnly => both,
                DescriptorError::Direct(_) => "leave out cache.direct".to_owned(),
                _ => "pass a file or block device".to_owned(),
            };
            let why = match error {
                DescriptorError::Io(error) => format!("cannot be used: {error}"),
                error => error.to_string().replacen("it ", "", 1),
            };
            refuse(why, &mend)
        })
    }
}

/// Standard input, output and error are not closed, whoever names them.
const LAST_STANDARD: RawFd = 2;

/// Closes all descriptors above the standard ones but these, which are in order.
fn close_all_but(kept: &[RawFd]) -> io::Result<()> {
    let mut first = 3;
    for number in kept {
        let number = u32::try_from(*number).unwrap_or(first);
        if first < number {
            sys::close(first..=number - 1)?;
        }
        first = first.max(number.saturating_add(1));
    }
    Ok(sys::close(first..=u32::MAX)?)
}

/// The same, one by one, as the kernel lists them.
fn close_each_but(kept: &[RawFd]) -> io::Result<()> {
    let numbers = std::fs::read_dir("/proc/self/fd")?
        .map(|entry| Ok(entry?.file_name().to_str().and_then(|it| it.parse().ok())))
        .collect::<io::Result<Vec<Option<u32>>>>()?;
    // The list's own descriptor is closed by now: nothing has that number any more.
    for number in numbers.into_iter().flatten().filter(|number| *number > 2) {
        if !kept.iter().any(|kept| u32::try_from(*kept) == Ok(number)) {
            sys::close_one(number);
        }
    }
    Ok(())
}
