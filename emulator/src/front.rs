//! Step 5, intake: a front turns what a client sends into accesses of a function.

use std::io;
use std::os::fd::OwnedFd;

use crate::pci::Function;

/// Tokens below this belong to the event loop, those from here on to the front.
pub const FIRST_FRONT_TOKEN: usize = 1024;

/// Where clients come from.
#[derive(Debug)]
pub enum Endpoint {
    /// A listening UNIX stream socket: clients one after another.
    Listening(OwnedFd),
    /// One connected UNIX stream socket, inherited: one client, then the export is over.
    Connected(OwnedFd),
}

/// A function exported over vfio-user, with the ring where the client asks for it.
#[derive(Debug)]
pub struct Export;

impl Export {
    /// An export on this endpoint (made non-blocking by the caller before the sandbox closes). `label` names it in logs.
    #[must_use]
    pub fn new(endpoint: Endpoint, label: String) -> Self {
        let _ = (endpoint, label);
        todo!()
    }

    /// Registers what is to be watched.
    ///
    /// # Errors
    /// What `epoll_ctl` says.
    pub fn register(&mut self, registry: &mio::Registry) -> io::Result<()> {
        let _ = registry;
        todo!()
    }

    /// An event came for `token`. Serves everything that is there, in bounded portions.
    pub fn ready(&mut self, registry: &mio::Registry, token: mio::Token, function: &mut Function) {
        let _ = (registry, token, function);
        todo!()
    }

    /// Takes what the rings hold, a bounded portion. Whether there was anything.
    pub fn intake(&mut self, function: &mut Function) -> bool {
        let _ = function;
        todo!()
    }

    /// After accesses and runs: brings the client's interrupt in line with [`Function::interrupt`].
    pub fn settle(&mut self, function: &mut Function) {
        let _ = function;
        todo!()
    }

    /// Announces to the rings' clients that the worker is about to sleep. `false`: something has come meanwhile, do
    /// not sleep. After the sleep, or after `false`, call [`Export::awake`].
    pub fn prepare_sleep(&mut self) -> bool {
        todo!()
    }

    /// The worker is awake: no doorbell is needed.
    pub fn awake(&mut self) {
        todo!()
    }

    /// Whether a ring is attached (then polling before sleeping pays).
    #[must_use]
    pub fn has_ring(&self) -> bool {
        todo!()
    }

    /// The inherited client has gone: nothing is left to serve.
    #[must_use]
    pub fn is_over(&self) -> bool {
        todo!()
    }
}
