//! Step 1, without KVM: a vCPU that is a thread of the host and runs the guest's driver, in Rust.
//!
//! It works on the same words in guest RAM as the guest's program, with the same SCRIPTS, and reaches the device
//! through the same [`Board`]. Its interrupt controller is the pair of eventfds itself.

use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

use crate::board::Board;
use crate::error::VmmError;
use crate::guest::layout::{CONTROL, control, fatal, others, port};
use crate::guest::scripts::Scripts;
use crate::kvm::End;
use crate::ram::Ram;
use crate::stop::Stop;

mod driver;
mod halt;

use driver::Driver;
use halt::HaltPoll;

/// What an event is about.
const TRIGGER: u64 = 0;
const STOP: u64 = 1;

/// Looks for the interrupt between two looks at the clock, and at who else wants the CPU.
const LOOKS: u32 = 8;
/// Pauses after each: a look is a system call, and its line is the one that the device's side writes.
const PAUSES: u32 = 4;

/// A vCPU.
#[derive(Debug)]
pub(super) struct SoftwareVcpu {
    id: usize,
    ram: Ram,
    scripts: Scripts,
    trigger: EventFd,
    resample: EventFd,
    /// Held while requests are submitted by one of several vCPUs that do.
    submit: Arc<Mutex<()>>,
    polls: bool,
}

impl SoftwareVcpu {
    /// `polls`: whether it polls for its interrupt for a while, as KVM does, before its thread sleeps.
    pub(super) const fn new(
        id: usize,
        ram: Ram,
        scripts: Scripts,
        trigger: EventFd,
        resample: EventFd,
        submit: Arc<Mutex<()>>,
        polls: bool,
    ) -> Self {
        Self {
            id,
            ram,
            scripts,
            trigger,
            resample,
            submit,
            polls,
        }
    }

    /// Runs until the driver is done or `stop` is set.
    pub(super) fn run(&mut self, board: &mut Board, stop: &Stop) -> End {
        let done = if self.id == 0 {
            self.first(board, stop)
        } else {
            self.other(board, stop)
        };
        match done {
            Ok(None) => End::Stopped,
            Ok(Some(word)) => {
                board.port_write(port::REPORT, &word.to_le_bytes());
                End::Reported(word)
            }
            Err(error) => End::Broken(error.to_string()),
        }
    }

    fn word(&self, offset: u32) -> Result<u32, VmmError> {
        self.ram.load(CONTROL + offset)
    }

    /// Sets the chip up, submits, completes. `None`: stopped.
    fn first(&self, board: &mut Board, stop: &Stop) -> Result<Option<u32>, VmmError> {
        let mut driver = Driver::new(&self.ram, &self.scripts, board)?;
        // What a run before this one left behind. The device waits for the end of an interrupt that is not taken, too.
        if self.trigger.read().is_ok() {
            let _ = self.resample.write(1);
        }
        if !driver.find_device()? {
            self.ram.store(CONTROL + control::FATAL, fatal::NO_DEVICE)?;
            return Ok(Some(port::REPORT_FAILED));
        }
        driver.start_chip()?;
        let waiter = self.waiter(stop)?;
        let mut poll = HaltPoll::new(self.polls);
        let submits = self.word(control::OTHERS)? != others::SUBMIT;
        while !stop.flag.load(Ordering::Acquire) {
            if self.word(control::FATAL)? != 0 {
                return Ok(Some(port::REPORT_FAILED));
            }
            let count = self.word(control::COUNT)?;
            if self.word(control::COMPLETED)? == count {
                return Ok(Some(port::REPORT_DONE));
            }
            if submits {
                driver.submit()?;
            }
            // With nothing under way no interrupt will come: the host holds the driver back, so look again.
            let held_back =
                submits && self.word(control::SUBMITTED)? == self.word(control::COMPLETED)?;
            let interrupted = if held_back {
                thread::yield_now();
                self.trigger.read().is_ok()
            } else {
                self.halt(&mut poll, &waiter, stop)
            };
            if interrupted {
                driver.service(submits)?;
                if !driver.end_of_interrupt() {
                    // It fails only if the device has not looked for a very long time.
                    let _ = self.resample.write(1);
                }
            }
        }
        Ok(None)
    }

    /// What an interrupt and a stop are seen with.
    fn waiter(&self, stop: &Stop) -> Result<Epoll, VmmError> {
        let failed = |error: std::io::Error| VmmError::Host(error.to_string());
        let epoll = Epoll::new().map_err(failed)?;
        for (event, token) in [(&self.trigger, TRIGGER), (&stop.event, STOP)] {
            let event_of = EpollEvent::new(EventSet::IN, token);
            epoll
                .ctl(ControlOperation::Add, event.as_raw_fd(), event_of)
                .map_err(failed)?;
        }
        Ok(epoll)
    }

    /// Waits for the interrupt and takes it: polls, then sleeps. `false`: a signal, or the stop.
    fn halt(&self, poll: &mut HaltPoll, epoll: &Epoll, stop: &Stop) -> bool {
        let begin = Instant::now();
        // Also without a budget an interrupt that is there already costs no sleep.
        while !self.look() {
            if stop.flag.load(Ordering::Acquire) {
                return false;
            }
            if begin.elapsed() >= poll.budget() {
                // The caller's loop looks and comes back.
                if !self.sleep(epoll) {
                    return false;
                }
                break;
            }
            // As KVM: whoever else wants this CPU goes first.
            thread::yield_now();
        }
        poll.waited(begin.elapsed());
        true
    }

    /// Takes the interrupt, if it comes within a few looks.
    fn look(&self) -> bool {
        (0..LOOKS).any(|look| {
            let pauses = if look > 0 { PAUSES } else { 0 };
            (0..pauses).for_each(|_| std::hint::spin_loop());
            self.trigger.read().is_ok()
        })
    }

    /// Sleeps until the interrupt comes, and takes it.
    fn sleep(&self, epoll: &Epoll) -> bool {
        let mut events = [EpollEvent::default(); 2];
        let ready = epoll.wait(-1, &mut events).unwrap_or(0);
        events
            .iter()
            .take(ready)
            .any(|event| event.data() == TRIGGER)
            && self.trigger.read().is_ok()
    }

    /// Submits or polls, as the workload says.
    fn other(&self, board: &mut Board, stop: &Stop) -> Result<Option<u32>, VmmError> {
        while self.word(control::READY)? == 0 {
            if stop.flag.load(Ordering::Acquire) {
                return Ok(None);
            }
            thread::yield_now();
        }
        let submits = self.word(control::OTHERS)? == others::SUBMIT;
        let mut driver = Driver::new(&self.ram, &self.scripts, board)?;
        while !stop.flag.load(Ordering::Acquire) {
            if self.word(control::FATAL)? != 0 {
                return Ok(Some(port::REPORT_FAILED));
            }
            let so_far = if submits {
                control::SUBMITTED
            } else {
                control::COMPLETED
            };
            if self.word(so_far)? == self.word(control::COUNT)? {
                return Ok(Some(port::REPORT_DONE));
            }
            if submits {
                let submitting = self.submit.lock();
                driver.submit()?;
                drop(submitting);
                thread::yield_now();
            } else {
                driver.poll_status()?;
            }
        }
        Ok(None)
    }
}
