//! `driver=nbd`: an export of an NBD server.

use std::path::PathBuf;

use super::known;
use crate::config::options::{OptionError, Options, Problem};

/// An export of an NBD server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nbd {
    /// Where the server is.
    pub server: Server,
    /// The export's name; the empty one is the server's default.
    pub export: String,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// A UNIX socket.
    Unix(PathBuf),
}

/// What `server.type` can be.
#[derive(Clone, Copy)]
enum Kind {
    Unix,
}

impl Nbd {
    pub(super) fn parse(options: &mut Options) -> Result<Self, OptionError> {
        let server = options.take_nested("server");
        options.only(&known(&["server", "export"]))?;
        let Some(server) = server else {
            return Err(options.place().error(Problem::Missing {
                key: "server.path",
                example: "/run/nbd.sock, and server.type=unix",
            }));
        };
        Ok(Self {
            server: Server::parse(&server).map_err(|error| error.within("server"))?,
            export: options.get("export").unwrap_or_default().to_owned(),
        })
    }
}

impl Server {
    fn parse(options: &Options) -> Result<Self, OptionError> {
        options.only(&["type", "path"])?;
        options.required("type", "unix")?;
        options.choice("type", &[("unix", Kind::Unix)])?;
        Ok(Self::Unix(
            options.required("path", "/run/nbd.sock")?.into(),
        ))
    }
}
