//! The sandbox: what the process gives up before it reads the first byte from a guest.
//!
//! Everything that serving needs is opened before: images, sockets, io_uring instances, epoll instances. Then
//! [`leave_the_host`] takes the rest of the host out of reach, while there is only one thread; the
//! workers are started, waiting; [`limit_system_calls`] puts the filter on all threads; and only then the workers
//! begin. `docs/threat-model.md` has the table of what is denied and the test that tries it.

mod capabilities;
mod landlock;
mod namespaces;
mod seccomp;
mod threads;

use std::io;

use rustix::process::{Resource, Rlimit};

/// Why the sandbox could not be closed. Nothing may be served then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// Other threads run on, and would keep what is given up here.
    #[error("{0} threads where there should be one")]
    Threads(usize),
    /// A limit or a flag of the process.
    #[error("{what}")]
    Process {
        /// What was to be set.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A capability could not be dropped.
    #[error("capabilities")]
    Capabilities(#[from] caps::errors::CapsError),
    /// The system call filter could not be built.
    #[error("system call filter")]
    Filter(#[from] seccompiler::BackendError),
    /// The kernel did not take the system call filter.
    #[error("system call filter")]
    Install(#[from] seccompiler::Error),
}

/// The layers that not every host allows. Without them the system call filter stands alone before what they hide.
#[derive(Debug)]
pub struct Surroundings {
    /// User, mount, network, IPC, UTS and cgroup namespaces of its own; why not, if not.
    pub namespaces: Result<(), String>,
    /// An empty, read-only root directory; why not, if not.
    pub empty_root: Result<(), String>,
    /// Landlock, with no right to any file or port; why not, if not.
    pub landlock: Result<(), String>,
}

impl Surroundings {
    /// Says what is missing.
    pub fn log(&self) {
        for (layer, outcome) in [
            ("own namespaces", &self.namespaces),
            ("an empty root directory", &self.empty_root),
            ("Landlock", &self.landlock),
        ] {
            if let Err(reason) = outcome {
                tracing::info!("the sandbox does without {layer}: {reason}");
            }
        }
        if self.empty_root.is_err() && self.landlock.is_err() {
            tracing::warn!(
                "neither an empty root directory nor Landlock: only the system call filter stands before the host's files"
            );
        }
    }
}

/// Takes the host out of reach: privileges, namespaces, file system, core dumps.
///
/// Must be called while the process has one thread, because all of this is a thread's own and inherited by
/// those that it starts; one that has been joined may take a moment until it is gone, which this waits for. Paths lead nowhere
/// afterwards.
///
/// # Errors
/// If there are other threads (nothing is given up then), or a layer that every supported kernel has could not be closed.
pub fn leave_the_host() -> Result<Surroundings, SandboxError> {
    let process = |what| {
        move |source: rustix::io::Errno| SandboxError::Process {
            what,
            source: source.into(),
        }
    };
    threads::wait_until_alone(threads::PATIENCE)?;
    // Libraries ask the kernel for some constants once, when they are first needed: by then they could not.
    let _ = rustix::param::page_size();
    rustix::thread::set_no_new_privs(true).map_err(process("no_new_privs"))?;
    // A core dump would hold guest RAM.
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    rustix::process::setrlimit(Resource::Core, none).map_err(process("core limit"))?;

    let namespaces = namespaces::enter();
    let empty_root = namespaces::empty_root();
    let landlock = landlock::restrict();
    capabilities::drop_all()?;
    Ok(Surroundings {
        namespaces: namespaces.map_err(|error| error.to_string()),
        empty_root: empty_root.map_err(|error| error.to_string()),
        landlock,
    })
}

/// Puts the system call filter on every thread of the process.
///
/// # Errors
/// If the kernel has no seccomp, or a thread could not be brought under the filter.
pub fn limit_system_calls() -> Result<(), SandboxError> {
    seccomp::install()
}
