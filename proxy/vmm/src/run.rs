//! One run: vCPU threads, their supervision and their reports.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use outrigger_proxy::MappedBy;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::board::{Board, HostBridge};
use crate::config::{DeviceAttachment, MachineConfig, VcpuKind};
use crate::error::VmmError;
use crate::guest::layout::{
    CODE, CONTROL, INTERRUPT_LINE, REQUESTS, STACK_BYTES, STACK_TOP, control, fatal, port, request,
};
use crate::guest::program::GuestProgram;
use crate::guest::scripts::Scripts;
use crate::kvm::{self, End, Vcpu, Vm};
use crate::ram::Ram;
use crate::report::{ChipError, FailedRequest, Failure, Report, RequestError, VcpuReport};
use crate::software::SoftwareVcpu;
use crate::stop::{Stop, StopHandle};
use crate::workload::Workload;

/// Told, on the thread that runs the machine, which requests are done, with the RAM that holds their data.
pub type Observer<'a> = &'a mut dyn FnMut(&Ram, Range<u32>);

/// How often the supervisor looks at the progress, and how often it kicks vCPUs that are to stop.
const LOOK: Duration = Duration::from_millis(50);
const LOOK_WITH_WINDOW: Duration = Duration::from_millis(1);
const KICK_AGAIN: Duration = Duration::from_millis(1);

/// What a vCPU thread runs.
enum Body {
    Kvm(Vcpu),
    Software(SoftwareVcpu),
}

/// A vCPU thread's outcome.
struct Ended {
    end: End,
    board: Board,
}

/// A vCPU thread.
struct Thread {
    handle: JoinHandle<Ended>,
    /// It may be in KVM_RUN, which only a signal ends.
    kvm: bool,
    ended: bool,
}

/// What the guest runs.
pub(super) struct Guest<'a> {
    pub(super) program: &'a GuestProgram,
    pub(super) scripts: &'a Scripts,
    pub(super) workload: &'a Workload,
}

pub(super) fn run(
    config: &MachineConfig,
    ram: &Ram,
    device: &mut DeviceAttachment,
    asked: &StopHandle,
    guest: &Guest<'_>,
    observer: Observer<'_>,
) -> Result<Report, VmmError> {
    let workload = guest.workload;
    let stop = Arc::new(Stop {
        flag: AtomicBool::new(false),
        event: EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)
            .map_err(|error| VmmError::Host(error.to_string()))?,
    });
    let bodies = bodies(config, ram, device, guest)?;
    // The last run may have ended with an interrupt that its guest no longer took: the device would wait for its end.
    device
        .interrupt
        .end_of_interrupt()
        .map_err(|error| VmmError::Host(error.to_string()))?;
    let bridge = Arc::new(HostBridge::default());
    let (sender, receiver) = channel();
    let begin = Instant::now();
    let mut threads = Vec::new();
    // The ports of the vCPUs that run; the others stay where they are.
    let rest = device.ports.split_off(bodies.len());
    for ((id, body), port) in bodies.into_iter().enumerate().zip(device.ports.drain(..)) {
        let board = Board::new(port, Arc::clone(&bridge));
        let pin = config.pins.get(id).copied();
        threads.push(spawn(
            id,
            body,
            board,
            pin,
            Arc::clone(&stop),
            sender.clone(),
        )?);
    }
    drop(sender);
    let mut supervisor = Supervisor {
        ram,
        workload,
        observer,
        stop: &stop,
        asked: asked.clone(),
        seen: 0,
        failure: None,
    };
    supervisor.watch(&mut threads, &receiver, begin + config.time_limit);
    let mut failure = supervisor.failure.take();
    supervisor.observe()?;

    let end = Instant::now();
    let mut vcpus = Vec::new();
    let mut began_work = None;
    for (vcpu, thread) in threads.into_iter().enumerate() {
        let Ok(Ended { end, board }) = thread.handle.join() else {
            failure.get_or_insert(Failure::Vcpu {
                vcpu,
                reason: String::from("its thread panicked"),
            });
            continue;
        };
        if let End::Broken(reason) = end {
            failure.get_or_insert(Failure::Vcpu { vcpu, reason });
        }
        let (port, report, began) = board.into_parts();
        device.ports.push(port);
        began_work = began_work.or(began);
        vcpus.push(report);
    }
    device.ports.extend(rest);
    if let Some(port) = device.ports.first() {
        // The virtual machine has gone with its vCPUs.
        port.map_memory(MappedBy::Nobody);
    }
    report(
        ram,
        workload,
        vcpus,
        failure,
        end - begin,
        end - began_work.unwrap_or(begin),
    )
}

/// The vCPUs, ready to run.
fn bodies(
    config: &MachineConfig,
    ram: &Ram,
    device: &DeviceAttachment,
    guest: &Guest<'_>,
) -> Result<Vec<Body>, VmmError> {
    let Guest {
        program,
        scripts,
        workload,
    } = *guest;
    let copy = |event: &EventFd| {
        event
            .try_clone()
            .map_err(|error| VmmError::Host(error.to_string()))
    };
    match config.kind {
        VcpuKind::Kvm => {
            kvm::install_kick()?;
            let vm = Arc::new(Vm::new(ram, INTERRUPT_LINE, &device.interrupt)?);
            if let Some(port) = device.ports.first() {
                port.map_memory(MappedBy::Mapper(Box::new(vm.slots())));
            }
            (0..workload.vcpus())
                .zip((STACK_TOP..).step_by(usize::try_from(STACK_BYTES).unwrap_or(1)))
                .map(|(id, stack)| vm.vcpu(id, CODE + program.start, stack).map(Body::Kvm))
                .collect()
        }
        VcpuKind::Software => {
            let submit = Arc::new(Mutex::new(()));
            // KVM polls only where nobody else wants the CPU. A thread cannot tell, so it must be one that is bound to its CPU, and not to
            // the only one. Asked here, where no thread is bound yet.
            let several = thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1);
            let software = |id| {
                Ok(Body::Software(SoftwareVcpu::new(
                    id,
                    ram.clone(),
                    scripts.clone(),
                    copy(device.interrupt.trigger())?,
                    copy(device.interrupt.resample())?,
                    Arc::clone(&submit),
                    several && config.pins.get(id).is_some(),
                )))
            };
            (0..workload.vcpus()).map(software).collect()
        }
    }
}

fn spawn(
    id: usize,
    body: Body,
    mut board: Board,
    pin: Option<usize>,
    stop: Arc<Stop>,
    sender: Sender<(usize, bool)>,
) -> Result<Thread, VmmError> {
    let kvm = matches!(body, Body::Kvm(_));
    let handle = thread::Builder::new()
        .name(format!("vcpu{id}"))
        .spawn(move || {
            if let Some(cpu) = pin {
                let mut cpus = rustix::thread::CpuSet::new();
                cpus.set(cpu);
                // A CPU that is not there leaves the thread unpinned.
                let _ = rustix::thread::sched_setaffinity(None, &cpus);
            }
            board.begin();
            let end = match body {
                Body::Kvm(mut vcpu) => vcpu.run(&mut board, &stop.flag),
                Body::Software(mut vcpu) => vcpu.run(&mut board, &stop),
            };
            board.end();
            // The supervisor waits for this message or for the channel's end.
            let _ = sender.send((id, end == End::Reported(port::REPORT_DONE)));
            Ended { end, board }
        })
        .map_err(|error| VmmError::Host(error.to_string()))?;
    Ok(Thread {
        handle,
        kvm,
        ended: false,
    })
}

/// Watches the vCPUs and the progress until all vCPUs have ended.
struct Supervisor<'a> {
    ram: &'a Ram,
    workload: &'a Workload,
    observer: Observer<'a>,
    stop: &'a Stop,
    /// The VMM's wish to stop.
    asked: StopHandle,
    /// Requests that the observer has seen.
    seen: u32,
    failure: Option<Failure>,
}

impl Supervisor<'_> {
    fn watch(
        &mut self,
        threads: &mut [Thread],
        receiver: &Receiver<(usize, bool)>,
        deadline: Instant,
    ) {
        let look = if self.workload.window == 0 {
            LOOK
        } else {
            LOOK_WITH_WINDOW
        };
        let mut stopping = false;
        while threads.iter().any(|thread| !thread.ended) {
            let wait = if stopping {
                KICK_AGAIN
            } else {
                look.min(deadline.saturating_duration_since(Instant::now()))
            };
            match receiver.recv_timeout(wait) {
                Ok((id, well)) => {
                    if let Some(thread) = threads.get_mut(id) {
                        thread.ended = true;
                    }
                    stopping |= !well;
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Err(error) = self.observe() {
                self.failure.get_or_insert(Failure::Vcpu {
                    vcpu: 0,
                    reason: error.to_string(),
                });
                stopping = true;
            }
            if !stopping && self.asked.take() {
                self.failure.get_or_insert(Failure::Stopped);
                stopping = true;
            }
            if !stopping && Instant::now() >= deadline && threads.iter().any(|thread| !thread.ended)
            {
                self.failure.get_or_insert(Failure::TimedOut);
                stopping = true;
            }
            if stopping {
                self.stop.flag.store(true, Ordering::Release);
                // Full would be signalled too.
                let _ = self.stop.event.write(1);
                threads
                    .iter()
                    .filter(|thread| thread.kvm && !thread.ended)
                    .for_each(|thread| kvm::kick(&thread.handle));
            }
        }
    }

    /// Tells the observer what is done, in order, and lets the guest go on.
    fn observe(&mut self) -> Result<(), VmmError> {
        let count = u32::try_from(self.workload.requests.len()).unwrap_or(u32::MAX);
        let mut end = self.seen;
        while end < count && result(self.ram, end)? & request::DONE != 0 {
            end += 1;
        }
        if end > self.seen {
            (self.observer)(self.ram, self.seen..end);
            self.seen = end;
            if self.workload.window != 0 {
                self.ram.store(
                    CONTROL + control::LIMIT,
                    end.saturating_add(self.workload.window).min(count),
                )?;
            }
        }
        Ok(())
    }
}

/// The result word of request `index`.
fn result(ram: &Ram, index: u32) -> Result<u32, VmmError> {
    ram.load(REQUESTS + index * request::BYTES + request::RESULT)
}

/// Why request `index` failed, whose result word this is.
fn why(ram: &Ram, index: u32, result: u32) -> Result<FailedRequest, VmmError> {
    let [status, ..] = result.to_le_bytes();
    if result & request::NO_TARGET != 0 {
        return Ok(FailedRequest::new(index, RequestError::NoTarget));
    }
    if result & request::SENSE == 0 {
        return Ok(FailedRequest::new(index, RequestError::Status(status)));
    }
    let mut data = [0; 16];
    let at = REQUESTS + index * request::BYTES + request::CDB;
    ram.read(at.into(), &mut data)?;
    Ok(FailedRequest::checked(index, status, &data))
}

fn report(
    ram: &Ram,
    workload: &Workload,
    mut vcpus: Vec<VcpuReport>,
    failure: Option<Failure>,
    elapsed: Duration,
    working: Duration,
) -> Result<Report, VmmError> {
    let word = |offset| ram.load(CONTROL + offset);
    let (mut statuses, mut failed) = (Vec::new(), Vec::new());
    for (index, _) in (0..).zip(&workload.requests) {
        let word = result(ram, index)?;
        let [status, ..] = word.to_le_bytes();
        let ended = word & (request::DONE | request::NO_TARGET) == request::DONE;
        statuses.push(ended.then_some(status));
        if word & !request::DONE != 0 {
            failed.push(why(ram, index, word)?);
        }
    }
    let said = match word(control::FATAL)? {
        fatal::CHIP => {
            let [sist1, dstat, istat0, sist0] = word(control::ERROR_STATUS)?.to_le_bytes();
            let (dsps, dsp) = (word(control::ERROR_DSPS)?, word(control::ERROR_DSP)?);
            Some(Failure::Chip(ChipError {
                istat0,
                dstat,
                sist0,
                sist1,
                dsps,
                dsp,
            }))
        }
        fatal::NO_DEVICE => Some(Failure::NoDevice),
        fatal::EXCEPTION => Some(Failure::Exception),
        _ => None,
    };
    if let Some(first) = vcpus.first_mut() {
        first.interrupts = word(control::INTERRUPTS)?.into();
    }
    Ok(Report {
        completed: word(control::COMPLETED)?,
        errors: word(control::ERRORS)?,
        statuses,
        failed,
        polls: word(control::POLLS)?,
        vcpus,
        elapsed,
        working,
        failure: said.or(failure),
    })
}
