//! What can go wrong while a VMM attaches to an emulator or controls it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

use outrigger_ring::SetupError;
use outrigger_vfio_user::Command;

use crate::access_map::MapError;
use crate::config_space::ConfigError;
use crate::guest_memory::MemoryError;
use crate::link::socket::RequestError;
use crate::peer::SpawnError;
use crate::port::PortError;

/// Why a device cannot be attached, or does not do what the VMM asks.
///
/// After [`Error::Connection`] the device is dead, and an event waits in the proxy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing listens there.
    #[error("cannot connect to the emulator at {}: {source}", path.display())]
    Connect {
        /// The socket's path.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// The emulator cannot be started.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The connection to the emulator failed.
    #[error("{step}: {source}")]
    Connection {
        /// What was being done.
        step: &'static str,
        /// What happened.
        source: PortError,
    },
    /// The emulator, which the proxy had started, ended before it was attached.
    #[error("{step}: the emulator has ended ({status}), {}", quoted(words))]
    Ended {
        /// What was being done.
        step: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it wrote to standard error.
        words: String,
    },
    /// The emulator said no; the connection goes on.
    #[error("{step}: the emulator refused {command} ({})", io::Error::from_raw_os_error(errno.cast_signed()))]
    Refused {
        /// What was being done.
        step: &'static str,
        /// The command.
        command: Command,
        /// Why.
        errno: u32,
    },
    /// The emulator speaks another version of the protocol.
    #[error("the emulator speaks vfio-user {major}.{minor}; the proxy speaks 0.1")]
    Version {
        /// The emulator's major version.
        major: u16,
        /// The emulator's minor version.
        minor: u16,
    },
    /// The device is not what the proxy can present to a guest.
    #[error("the emulator's device cannot be used: {0}")]
    Device(String),
    /// The device's config space cannot be shadowed.
    #[error("the emulator's device cannot be used: {0}")]
    Config(#[from] ConfigError),
    /// The access map cannot be believed.
    #[error("the emulator's access map: {0}")]
    AccessMap(#[from] MapError),
    /// The rings cannot be set up.
    #[error("attaching the rings: {0}")]
    Ring(#[from] SetupError),
    /// The device has no INTx line.
    #[error("the emulator's device has no INTx interrupt")]
    NoInterrupt,
    /// The memory cannot be handed over.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The options make no sense.
    #[error("the option {name} is {value}: {mend}")]
    Option {
        /// The option.
        name: &'static str,
        /// Its value.
        value: u64,
        /// What it must be.
        mend: &'static str,
    },
    /// The operating system refused a descriptor or a thread.
    #[error("{step}: {source}")]
    System {
        /// What was being done.
        step: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
}

fn quoted(words: &str) -> String {
    match words {
        "" => "without a word".to_owned(),
        words => format!("its last words: {words}"),
    }
}

/// Names what was being done when a request failed.
pub(crate) trait Step<T> {
    fn step(self, step: &'static str) -> Result<T, Error>;
}

impl<T> Step<T> for Result<T, RequestError> {
    fn step(self, step: &'static str) -> Result<T, Error> {
        self.map_err(|error| match error {
            RequestError::Dead(source) => Error::Connection { step, source },
            RequestError::Refused { command, errno } => Error::Refused {
                step,
                command,
                errno,
            },
        })
    }
}

impl<T> Step<T> for io::Result<T> {
    fn step(self, step: &'static str) -> Result<T, Error> {
        self.map_err(|source| Error::System { step, source })
    }
}
