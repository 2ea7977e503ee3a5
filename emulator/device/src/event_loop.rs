//! Step 5, intake: the worker, one thread that owns one exported function and everything behind it.
//!
//! A turn takes what clients have sent, runs the device and settles the interrupt, each a bounded portion, so
//! none starves the others. When nothing is left the worker polls its rings for a while, as long as the gaps of late
//! make it pay (`spin`), then announces that it sleeps, and sleeps until a descriptor or the device's deadline wakes it. An idle
//! worker costs nothing.

mod activity;
mod alert;
mod process;
mod readers;
mod spin;

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use outrigger_ring::CounterPage;

use crate::device::Progress;
use crate::front::{Export, FIRST_FRONT_TOKEN, Listener};
use crate::pci::Function;
use activity::Activity;
use alert::Alert;
pub use process::{Ended, Failure, serve};
use readers::Readers;
use spin::Spin;

/// Somebody wants the worker to stop.
const STOP: Token = Token(0);
/// The device's wake descriptors, from here on.
const FIRST_DEVICE_TOKEN: usize = 1;

/// How long a busy worker goes without looking at its sockets: long against what a look costs, short against
/// what a client notices. Also how often it shows its counts.
const LOOK_INTERVAL: Duration = Duration::from_micros(100);

/// The same where the alert says that there is nothing to see.
const QUIET_LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// The same where the alert says that there is, or where an interrupt waits for the guest's end of the one before, which comes
/// by eventfd: the guest waits as long. With both it looks at once.
const UNMASK_LOOK_INTERVAL: Duration = Duration::from_micros(20);

/// How often an idle worker polls its rings for a little while before it looks at the clock and at the device.
const POLLS_PER_TURN: u32 = 2;

/// One function with its front, and the thread's own loop.
#[derive(Debug)]
pub struct Worker {
    label: String,
    function: Function,
    export: Export,
    poll: Poll,
    stop: Arc<Stop>,
    activity: Activity,
    alert: Alert,
    /// Where it shows what it counts, if anybody may look.
    page: Option<CounterPage>,
    /// Taken when the process begins to serve.
    readers: Option<Readers>,
}

/// Asks a worker to stop, or to look at its device's outside, from another thread.
#[derive(Debug)]
pub struct Stop {
    asked: AtomicBool,
    refresh: AtomicBool,
    waker: mio::Waker,
}

impl Stop {
    /// The worker finishes its turn, waits for transfers that are in flight, and returns.
    ///
    /// # Errors
    /// If the worker could not be woken.
    pub fn ask(&self) -> io::Result<()> {
        self.asked.store(true, Ordering::Release);
        self.waker.wake()
    }

    /// The worker calls [`Function::refresh`] soon.
    ///
    /// # Errors
    /// If the worker could not be woken.
    pub fn ask_to_refresh(&self) -> io::Result<()> {
        self.refresh.store(true, Ordering::Release);
        self.waker.wake()
    }

    /// The worker shows its counts anew, awake or not.
    fn ask_to_show(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::debug!(%error, "cannot wake a worker");
        }
    }
}

impl Worker {
    /// A worker for this function, served by this export.
    ///
    /// # Errors
    /// If the loop's descriptors cannot be had or watched.
    pub fn new(label: String, function: Function, mut export: Export) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), STOP)?;
        let alert = Alert::new(poll.as_raw_fd());
        let wake_fds = function.wake_fds();
        // Interest in a device's descriptor has a token below the front's.
        let tokens = (FIRST_DEVICE_TOKEN..FIRST_FRONT_TOKEN).map(Token);
        if wake_fds.len() > tokens.len() {
            return Err(io::Error::other("the device has too many descriptors"));
        }
        for (fd, token) in wake_fds.iter().zip(tokens) {
            poll.registry()
                .register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        }
        export.register(poll.registry())?;
        let stop = Arc::new(Stop {
            asked: AtomicBool::new(false),
            refresh: AtomicBool::new(false),
            waker,
        });
        Ok(Self {
            label,
            function,
            export,
            poll,
            stop,
            activity: Activity::default(),
            alert,
            page: None,
            readers: None,
        })
    }

    /// Has this listening socket (non-blocking) hand a page with the worker's counts to whoever connects: `statistics`
    /// says what is on it.
    ///
    /// # Errors
    /// If there is no memory or no descriptor for the page.
    pub fn with_readers(mut self, socket: Listener) -> io::Result<Self> {
        let page = CounterPage::new().map_err(io::Error::other)?;
        self.readers = Some(Readers::new(socket, &page, self.stop())?);
        self.page = Some(page);
        Ok(self)
    }

    /// Whether a client is connected.
    #[must_use]
    pub fn has_client(&self) -> bool {
        self.export.has_client()
    }

    /// The exported device's name.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The handle that stops it.
    #[must_use]
    pub fn stop(&self) -> Arc<Stop> {
        Arc::clone(&self.stop)
    }

    /// Serves until somebody asks it to stop or an inherited client has gone. No DMA is in flight when it returns.
    ///
    /// `wake_cost` is the longest that polling the rings before a sleep can pay ([`outrigger_ring::wake_cost`]); zero:
    /// never poll.
    ///
    /// # Errors
    /// If waiting fails: there is no serving without it.
    pub fn run(&mut self, wake_cost: Duration) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        let mut spin = Spin::new(wake_cost);
        self.activity.begin();
        let result = loop {
            let idle_since = match self.work(&mut events, &mut spin) {
                Ok(idle_since) => idle_since,
                Err(error) => break Err(error),
            };
            if self.export.check_guest_ram(&mut self.function) && !self.is_done() {
                continue;
            }
            self.publish();
            if self.is_done() {
                break Ok(());
            }
            let ready_to_sleep = self.export.prepare_sleep();
            let slept = if ready_to_sleep {
                let deadlines = [self.function.deadline(), self.export.deadline()];
                let timeout = deadlines
                    .into_iter()
                    .flatten()
                    .min()
                    .map(|deadline| deadline.saturating_duration_since(Instant::now()));
                self.activity.sleeps += 1;
                self.look(&mut events, timeout)
            } else {
                Ok(())
            };
            self.export.awake();
            if let Err(error) = slept {
                break Err(error);
            }
            if ready_to_sleep
                && self.export.has_ring()
                && let Some(since) = idle_since
            {
                spin.woken(since.elapsed());
            }
        };
        self.function.unmap_all();
        result
    }

    /// Shows what was counted so far, if anybody may look.
    fn publish(&mut self) {
        if let Some(page) = &mut self.page {
            page.publish(|| {
                let (counts, work) = (self.export.counts(), self.function.work());
                self.activity.page(counts, work)
            });
        }
    }

    fn is_done(&self) -> bool {
        self.stop.asked.load(Ordering::Acquire) || self.export.is_over()
    }

    /// Turns until nothing is left to do and polling has not paid for long enough, or the worker is done. Since when there is
    /// nothing to do.
    fn work(&mut self, events: &mut Events, spin: &mut Spin) -> io::Result<Option<Instant>> {
        let mut now = Instant::now();
        let mut last_look = now;
        let mut last_shown = now;
        let mut idle_since = None;
        if self.export.has_ring() {
            self.alert.arm();
        }
        loop {
            // With other work at hand one look is enough.
            let polls = if idle_since.is_some() {
                POLLS_PER_TURN
            } else {
                0
            };
            let took = self.export.intake(&mut self.function, polls > 0)
                || (1..polls).any(|_| {
                    std::hint::spin_loop();
                    self.export.intake(&mut self.function, true)
                });
            now = Instant::now().max(now);
            let progress = self.export.run(&mut self.function, now);
            let busy = took || progress == Progress::More;
            self.export.settle(&mut self.function, now, busy);

            if busy
                || self
                    .function
                    .deadline()
                    .is_some_and(|deadline| deadline <= now)
            {
                if let Some(since) = idle_since.take() {
                    self.activity.polled(now - since);
                    spin.found(now - since);
                }
            } else {
                let since = *idle_since.get_or_insert(now);
                if !self.export.has_ring() || now - since >= spin.budget() {
                    self.activity.polled(now - since);
                    return Ok(Some(since));
                }
            }
            let awaited = self.export.awaits_unmask(&self.function);
            let raised = self.alert.is_raised();
            // Most likely this is what is awaited, and there is a shorter way to it. What came with it waits for the next alert or look, which
            // a client that goes on like that does not put off.
            let overdue = now - last_look >= QUIET_LOOK_INTERVAL;
            let taken = !overdue && raised == Some(true) && awaited && self.export.take_unmask();
            if taken {
                self.alert.explained();
            } else if now - last_look >= look_interval(raised, awaited) {
                self.activity.looks += 1;
                self.look(events, Some(Duration::ZERO))?;
                self.export.check_guest_ram(&mut self.function);
                last_look = now;
            }
            if now - last_shown >= LOOK_INTERVAL {
                self.publish();
                last_shown = now;
            }
            if self.is_done() {
                return Ok(None);
            }
        }
    }

    /// Waits for events, at most for `timeout`, and hands them to the front.
    fn look(&mut self, events: &mut Events, timeout: Option<Duration>) -> io::Result<()> {
        let looked = self.poll.poll(events, timeout);
        self.alert.looked();
        match looked {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        self.function.set_now(Instant::now());
        for event in events
            .iter()
            .filter(|event| event.token().0 >= FIRST_FRONT_TOKEN)
        {
            self.export
                .ready(self.poll.registry(), event, &mut self.function);
        }
        if self.stop.refresh.swap(false, Ordering::AcqRel) {
            self.function.refresh();
        }
        // The device's own events need no more than the turn that follows, and the flag tells of the other.
        Ok(())
    }
}

/// How long after a look the next one is due: whether the alert is raised, if anybody knows, and whether an interrupt waits for the
/// end of the one before.
const fn look_interval(raised: Option<bool>, awaited: bool) -> Duration {
    match (raised, awaited) {
        (Some(true), true) => Duration::ZERO,
        (Some(true), false) | (None, true) => UNMASK_LOOK_INTERVAL,
        (Some(false), _) => QUIET_LOOK_INTERVAL,
        (None, false) => LOOK_INTERVAL,
    }
}
