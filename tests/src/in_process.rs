//! A device in the VMM's own process, as a monolithic VMM has it: the peer that the fronts are compared with.
//!
//! A vCPU's access takes the device's lock, and the device runs in the vCPU's thread until it is idle; a second thread
//! serves completions, timers and the ends of interrupts that come by eventfd, as KVM's do. A software vCPU's come
//! by a call: its interrupt controller is in the same process.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use outrigger_device::device::Progress;
use outrigger_device::pci::Function;
use outrigger_proxy::Intx;
use outrigger_proxy::port::{Port, PortError};
use outrigger_ring::Access;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// A function and the thread that serves what no vCPU waits for.
#[derive(Debug)]
pub struct InProcess {
    shared: Arc<Shared>,
    stop: EventFd,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    intx: Intx,
    thread_id: AtomicI32,
    /// Tells the second thread that the deadline may have changed.
    kick: EventFd,
}

#[derive(Debug)]
struct State {
    function: Function,
    /// The interrupt was triggered and its end has not been seen: as vfio's automasked INTx.
    masked: bool,
    /// The deadline that the second thread knows.
    deadline: Option<Instant>,
}

/// Slices of work that a vCPU's thread does before it leaves the rest to the second thread.
const SLICES_PER_ACCESS: usize = 64;

impl InProcess {
    /// Takes the function and starts the second thread.
    ///
    /// # Errors
    /// If the kernel gives no more descriptors or threads.
    pub fn start(function: Function) -> io::Result<Self> {
        let wake = function
            .wake_fds()
            .iter()
            .map(|fd| fd.try_clone_to_owned())
            .collect::<io::Result<Vec<OwnedFd>>>()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                function,
                masked: false,
                deadline: None,
            }),
            intx: Intx::new()?,
            thread_id: AtomicI32::new(0),
            kick: EventFd::new(EFD_NONBLOCK)?,
        });
        let stop = EventFd::new(EFD_NONBLOCK)?;
        let poll = Poll::new()?;
        for (token, fd) in wake
            .iter()
            .map(AsRawFd::as_raw_fd)
            .chain([
                stop.as_raw_fd(),
                shared.intx.resample().as_raw_fd(),
                shared.kick.as_raw_fd(),
            ])
            .enumerate()
        {
            poll.registry()
                .register(&mut SourceFd(&fd), Token(token), Interest::READABLE)?;
        }
        let thread = {
            let shared = Arc::clone(&shared);
            let stop = stop.try_clone()?;
            std::thread::Builder::new()
                .name("in-process".to_owned())
                .spawn(move || {
                    shared.serve(poll, &stop);
                    drop(wake);
                })?
        };
        Ok(Self {
            shared,
            stop,
            thread: Some(thread),
        })
    }

    /// A way to the device for one vCPU.
    #[must_use]
    pub fn port(&self) -> InProcessPort {
        InProcessPort {
            shared: Arc::clone(&self.shared),
        }
    }

    /// The device's interrupt line.
    #[must_use]
    pub fn interrupt(&self) -> &Intx {
        &self.shared.intx
    }

    /// The kernel's id of the second thread; 0 until it has begun.
    #[must_use]
    pub fn thread_id(&self) -> i32 {
        self.shared.thread_id.load(Ordering::Relaxed)
    }

    /// Something done to the function itself, between accesses.
    pub fn with<T>(&self, act: impl FnOnce(&mut Function) -> T) -> T {
        let mut state = self.shared.lock();
        let result = act(&mut state.function);
        self.shared.advance(&mut state);
        result
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        // A counter that is full is rung already; a thread that panicked has said so.
        let _ = self.stop.write(1);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the device and brings the interrupt in line.
    fn advance(&self, state: &mut State) {
        let now = Instant::now();
        let idle = (0..SLICES_PER_ACCESS).any(|_| state.function.run(now) == Progress::Idle);
        if state.function.interrupt() && !state.masked {
            state.masked = true;
            let _ = self.intx.trigger().write(1);
        }
        let deadline = state.function.deadline();
        if !idle || deadline != state.deadline {
            state.deadline = deadline;
            let _ = self.kick.write(1);
        }
    }

    fn serve(&self, mut poll: Poll, stop: &EventFd) {
        self.thread_id.store(
            rustix::thread::gettid().as_raw_nonzero().get(),
            Ordering::Relaxed,
        );
        let mut events = Events::with_capacity(16);
        loop {
            let timeout = {
                let state = self.lock();
                state
                    .function
                    .deadline()
                    .map(|deadline| deadline.saturating_duration_since(Instant::now()))
            };
            // An interrupted wait is a turn like any other.
            let _ = poll.poll(&mut events, timeout);
            if stop.read().is_ok() {
                return;
            }
            let _ = self.kick.read();
            let mut state = self.lock();
            if self.intx.resample().read().is_ok() {
                state.masked = false;
            }
            self.advance(&mut state);
        }
    }
}

/// One vCPU's way to a device in its own process.
#[derive(Debug)]
pub struct InProcessPort {
    shared: Arc<Shared>,
}

impl Port for InProcessPort {
    fn read(&mut self, access: Access) -> Result<u64, PortError> {
        Ok(self.shared.lock().function.read(access))
    }

    fn post(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        let mut state = self.shared.lock();
        state.function.write(access, value);
        self.shared.advance(&mut state);
        Ok(())
    }

    fn write(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        self.post(access, value)
    }

    fn end_of_interrupt(&mut self) -> bool {
        let mut state = self.shared.lock();
        state.masked = false;
        self.shared.advance(&mut state);
        true
    }
}
