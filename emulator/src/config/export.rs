//! `--export`: who serves which device to clients.

use std::collections::BTreeSet;
use std::os::fd::RawFd;
use std::path::PathBuf;

use super::device::Controller;
use super::options::{OptionError, Options, Place, Problem};

/// One export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Where it was asked for.
    pub place: Place,
    /// The id of the device that is exported.
    pub device: String,
    /// Where clients come from.
    pub socket: Socket,
    /// A UNIX socket to listen on for readers of statistics.
    pub statistics: Option<PathBuf>,
}

/// Where clients come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// A UNIX socket to listen on.
    Path(PathBuf),
    /// An inherited descriptor: a UNIX stream socket, connected or listening.
    Descriptor(RawFd),
}

/// As the process announces it.
impl std::fmt::Display for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Descriptor(number) => write!(f, "descriptor {number}"),
        }
    }
}

/// The longest path of a UNIX socket: what `sun_path` holds, less its final NUL.
const LONGEST_PATH: usize = 107;

impl Export {
    /// Whether it has sockets of its own in the file system.
    #[must_use]
    pub fn has_files(&self) -> bool {
        matches!(self.socket, Socket::Path(_)) || self.statistics.is_some()
    }

    pub(super) fn parse(options: Options) -> Result<Self, OptionError> {
        options.required("type", "vfio-user")?;
        options.choice("type", &[("vfio-user", ())])?;
        options.only(&["type", "device", "path", "fd", "stats"])?;
        let device = options.required("device", "lsi0")?.to_owned();
        let socket = match (options.get("path"), options.number("fd", 3..=1 << 20)?) {
            (Some(_), Some(_)) => {
                return Err(options.place().error(Problem::Exclusive("path", "fd")));
            }
            (None, Some(fd)) => Socket::Descriptor(RawFd::try_from(fd).unwrap_or(RawFd::MAX)),
            (_, None) => {
                options.required("path", "/run/lsi0.sock")?;
                Socket::Path(socket_path(&options, "path")?.unwrap_or_default())
            }
        };
        let statistics = socket_path(&options, "stats")?;
        Ok(Self {
            device,
            socket,
            statistics,
            place: options.place().clone(),
        })
    }
}

/// The path of a socket to listen on, if the option is given.
fn socket_path(options: &Options, key: &'static str) -> Result<Option<PathBuf>, OptionError> {
    let Some(path) = options.get(key) else {
        return Ok(None);
    };
    if path.len() > LONGEST_PATH {
        let limit = format!("at most {LONGEST_PATH} bytes, this has {}", path.len());
        return Err(options.bad(key, path, limit));
    }
    Ok(Some(path.into()))
}

/// Checks that each export names a controller of its own and a socket of its own, and that each controller is served.
pub(super) fn check_all(exports: &[Export], controllers: &[Controller]) -> Result<(), OptionError> {
    let (mut devices, mut sockets) = (BTreeSet::new(), BTreeSet::new());
    for export in exports {
        let taken = |key, value: &str| {
            export.place.error(Problem::Taken {
                key,
                value: value.to_owned(),
            })
        };
        if !controllers
            .iter()
            .any(|controller| controller.id == export.device)
        {
            let known = controllers.iter().map(|controller| controller.id.as_str());
            return Err(export.place.error(Problem::unknown(
                "device",
                &export.device,
                known,
                "--device",
            )));
        }
        if !devices.insert(&export.device) {
            return Err(taken("device", &export.device));
        }
        let (key, name) = match &export.socket {
            Socket::Path(path) => ("path", path.display().to_string()),
            Socket::Descriptor(fd) => ("fd", fd.to_string()),
        };
        if !sockets.insert((key, name.clone())) {
            return Err(taken(key, &name));
        }
        if let Some(path) = &export.statistics {
            let name = path.display().to_string();
            if !sockets.insert(("path", name.clone())) {
                return Err(taken("stats", &name));
            }
        }
    }
    match controllers
        .iter()
        .find(|controller| !devices.contains(&controller.id))
    {
        None => Ok(()),
        Some(Controller { place, id, .. }) => {
            let mend = format!("add --export type=vfio-user,device={id},path=SOCKET");
            Err(place.error(Problem::refused(format!("no --export serves '{id}'"), mend)))
        }
    }
}
