//! A chip that needs no SCRIPTS: when it is signalled it walks the start queue itself and completes what it finds.

use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use outrigger_proxy::Access;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::guest::layout::{
    CONTROL, DONE_QUEUE, SENSE_OFFSET, START_QUEUE, control, done_slot, request, sense, start_slot,
    task,
};
use crate::guest::registers::{DSA, DSP, DSTAT, ISTAT0, SIST1, istat0};
use crate::{DeviceAttachment, Ram};
use outrigger_proxy::Intx;
use outrigger_proxy::in_process;
use outrigger_proxy::port::{Port, PortError};

const REGISTERS: u8 = 1;
const SCRIPTS: u8 = 2;
const CONFIG: u8 = 7;

/// No target answers here.
pub(super) const EMPTY_TARGET: u8 = 5;
/// This target makes the chip stop with an illegal instruction.
pub(super) const BROKEN_TARGET: u8 = 6;
/// This target never answers.
pub(super) const SILENT_TARGET: u8 = 4;

#[derive(Debug)]
struct State {
    config: [u8; 256],
    registers: [u8; 256],
    scripts: Vec<u8>,
    start: u32,
    done: u32,
    log: Vec<String>,
    /// The machine was told of the interrupt and has not said that it took it.
    told: bool,
    /// Ends of interrupts to come that belong to earlier ones.
    ends_before: u64,
}

#[derive(Debug)]
pub(super) struct FakeChip {
    ram: Ram,
    state: Mutex<State>,
    /// For the machine.
    interrupt: Mutex<Option<Intx>>,
    trigger: EventFd,
    resample: EventFd,
    over: EventFd,
}

impl FakeChip {
    pub(super) fn new(ram: &Ram) -> Arc<Self> {
        let mut config = [0; 256];
        config[..4].copy_from_slice(&[0x00, 0x10, 0x12, 0x00]);
        // BAR 0 is an I/O BAR.
        config[0x10] = 1;
        let interrupt = Intx::new().unwrap();
        Arc::new(Self {
            ram: ram.clone(),
            state: Mutex::new(State {
                config,
                registers: [0; 256],
                scripts: vec![0; 0x2000],
                start: START_QUEUE,
                done: DONE_QUEUE,
                log: Vec::new(),
                told: false,
                ends_before: 0,
            }),
            trigger: interrupt.trigger().try_clone().unwrap(),
            resample: interrupt.resample().try_clone().unwrap(),
            over: EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).unwrap(),
            interrupt: Mutex::new(Some(interrupt)),
        })
    }

    /// The device for a machine, and the thread that answers ends of interrupt; see [`FakeChip::finish`].
    pub(super) fn attach(self: &Arc<Self>, vcpus: usize) -> (DeviceAttachment, JoinHandle<()>) {
        let ports = (0..vcpus).map(|vcpu| -> Box<dyn Port> {
            Box::new(FakePort {
                chip: Arc::clone(self),
                vcpu,
            })
        });
        let sizes = [0x100, 0x400, 0x2000, 0, 0, 0, 0];
        let device = DeviceAttachment {
            ports: in_process::attach(ports.collect(), sizes).unwrap(),
            interrupt: self.interrupt.lock().unwrap().take().unwrap(),
        };
        let chip = Arc::clone(self);
        (
            device,
            thread::spawn(move || chip.answer_ends_of_interrupt()),
        )
    }

    pub(super) fn finish(&self, thread: JoinHandle<()>) {
        self.over.write(1).unwrap();
        thread.join().unwrap();
    }

    fn answer_ends_of_interrupt(&self) {
        let epoll = Epoll::new().unwrap();
        for event in [&self.resample, &self.over] {
            epoll
                .ctl(
                    ControlOperation::Add,
                    event.as_raw_fd(),
                    EpollEvent::new(EventSet::IN, 0),
                )
                .unwrap();
        }
        while self.over.read().is_err() {
            let _ = epoll.wait(-1, &mut [EpollEvent::default()]);
            if let Ok(ends) = self.resample.read() {
                let mut state = self.state.lock().unwrap();
                let heard = ends > state.ends_before;
                state.ends_before = state.ends_before.saturating_sub(ends);
                if heard {
                    state.told = false;
                    self.settle(&mut state);
                }
            }
        }
    }

    /// Tells the machine of the interrupt, once until it has taken it.
    fn settle(&self, state: &mut State) {
        let pending = istat0::INTF | istat0::SIP | istat0::DIP;
        if state.registers[usize::from(ISTAT0)] & pending != 0 && !state.told {
            state.told = true;
            self.trigger.write(1).unwrap();
        }
    }

    /// As after an interrupt that the machine was told of when its run was over.
    pub(super) fn forget_an_interrupt(&self) {
        self.state.lock().unwrap().told = true;
    }

    /// As if the machine was told of an interrupt just after it said, as a run begins, that it has none.
    pub(super) fn interrupt_as_a_run_begins(&self) {
        let mut state = self.state.lock().unwrap();
        (state.told, state.ends_before) = (true, 1);
        self.trigger.write(1).unwrap();
    }

    /// As after power-on, but for config space and what the machine was told.
    pub(super) fn rewind(&self) {
        let mut state = self.state.lock().unwrap();
        state.registers = [0; 256];
        (state.start, state.done) = (START_QUEUE, DONE_QUEUE);
    }

    pub(super) fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }

    pub(super) fn scripts(&self) -> Vec<u8> {
        self.state.lock().unwrap().scripts.clone()
    }

    pub(super) fn register(&self, register: u8) -> u8 {
        self.state.lock().unwrap().registers[usize::from(register)]
    }

    /// Does what the SCRIPTS would do.
    fn signalled(&self, state: &mut State) {
        let word = |address| self.ram.load(address).unwrap();
        while word(state.start + start_slot::JUMP) == word(CONTROL + control::START) {
            let block = word(state.start + start_slot::TASK);
            let target = word(block + task::SELECT).to_le_bytes()[2];
            match target {
                EMPTY_TARGET => {
                    state.registers[usize::from(DSA)..][..4].copy_from_slice(&block.to_le_bytes());
                    state.registers[usize::from(SIST1)] = 0x04;
                    state.registers[usize::from(ISTAT0)] |= istat0::SIP;
                    return;
                }
                BROKEN_TARGET => {
                    state.registers[usize::from(DSTAT)] = 0x81;
                    state.registers[usize::from(ISTAT0)] |= istat0::DIP;
                    return;
                }
                SILENT_TARGET => return,
                _ => {}
            }
            // The operation code tells the status.
            let cdb = word(block + task::COMMAND + 4);
            assert_eq!(word(block + task::REQUEST) + request::CDB, cdb);
            let status = word(cdb).to_le_bytes()[0];
            let store = |address, value| self.ram.store(address, value).unwrap();
            store(block + task::STATUS_BYTE, u32::from(status));
            let mut done = block;
            if status == 0x02 {
                done = block + SENSE_OFFSET;
                // The bytes after it are those of REQUEST SENSE's status, sense key, code and qualifier.
                let [_, status, key, code] = word(cdb).to_le_bytes().map(u32::from);
                let qualifier = word(cdb + 4) & 0xff;
                store(done + task::STATUS_BYTE, status);
                if key != 0 {
                    store(done + sense::DATA, 0x70 | key << 16);
                    store(done + sense::DATA + 12, code | qualifier << 8);
                    // As if a byte was missing at the end.
                    store(done + task::LAST_SEGMENT, 1);
                    store(done + task::DATA_IN, 0);
                }
            }
            store(state.done + done_slot::TASK, done);
            state.done = word(state.done + done_slot::NEXT);
            state.start = word(state.start + start_slot::NEXT);
            state.registers[usize::from(ISTAT0)] |= istat0::INTF;
        }
    }

    fn write(&self, state: &mut State, vcpu: usize, at: usize, data: &[u8]) {
        let register = u8::try_from(at).unwrap();
        state
            .log
            .push(format!("{vcpu}: {register:#04x} = {data:02x?}"));
        match (register, data) {
            (ISTAT0, &[value]) => {
                let place = &mut state.registers[usize::from(ISTAT0)];
                *place &= !(value & istat0::INTF);
                if value & istat0::SIGP != 0 {
                    self.signalled(state);
                }
            }
            (DSP, _) => {
                state.registers[usize::from(ISTAT0)] &= !istat0::SIP;
                if data
                    != self
                        .ram
                        .load(CONTROL + control::ENTRY)
                        .unwrap()
                        .to_le_bytes()
                {
                    // After a selection time-out.
                    let start = state.start;
                    state.start = self.ram.load(start + start_slot::NEXT).unwrap();
                }
                self.signalled(state);
            }
            _ => state.registers[usize::from(register)..][..data.len()].copy_from_slice(data),
        }
        self.settle(state);
    }
}

#[derive(Debug)]
struct FakePort {
    chip: Arc<FakeChip>,
    vcpu: usize,
}

impl Port for FakePort {
    fn read(&mut self, access: Access) -> Result<u64, PortError> {
        let at = usize::try_from(access.offset).unwrap();
        let mut state = self.chip.state.lock().unwrap();
        let mut value = [0; 8];
        let len = usize::from(access.width.bytes());
        match access.region {
            REGISTERS => {
                value[..len].copy_from_slice(&state.registers[at..at + len]);
                if at == usize::from(SIST1) {
                    state.registers[at] = 0;
                }
            }
            CONFIG => value[..len].copy_from_slice(&state.config[at..at + len]),
            region => panic!("a read of region {region}"),
        }
        Ok(u64::from_le_bytes(value))
    }

    fn post(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        let at = usize::try_from(access.offset).unwrap();
        let data = &value.to_le_bytes()[..usize::from(access.width.bytes())];
        let mut state = self.chip.state.lock().unwrap();
        match access.region {
            REGISTERS => self.chip.write(&mut state, self.vcpu, at, data),
            SCRIPTS => state.scripts[at..at + data.len()].copy_from_slice(data),
            region => panic!("a posted write to region {region}"),
        }
        Ok(())
    }

    fn write(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        assert_eq!(access.region, CONFIG);
        let mut state = self.chip.state.lock().unwrap();
        let (offset, len) = (
            usize::try_from(access.offset).unwrap(),
            usize::from(access.width.bytes()),
        );
        state
            .log
            .push(format!("config {offset:#04x} {len} = {value:#x}"));
        state.config[offset..offset + len].copy_from_slice(&value.to_le_bytes()[..len]);
        Ok(())
    }
}
