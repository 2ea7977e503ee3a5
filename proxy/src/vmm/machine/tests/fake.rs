//! A chip that needs no SCRIPTS: when it is signalled it walks the start queue itself and completes what it finds.

use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use outrigger_ring::Width;
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::vmm::guest::layout::{
    CONTROL, DONE_QUEUE, START_QUEUE, control, done_slot, request, start_slot, task,
};
use crate::vmm::guest::registers::{DSA, DSP, DSTAT, ISTAT0, SIST1, istat0};
use crate::vmm::{DeviceAttachment, GuestBus, Ram};

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
}

#[derive(Debug)]
pub(super) struct FakeChip {
    ram: Ram,
    state: Mutex<State>,
    trigger: EventFd,
    resample: EventFd,
    over: EventFd,
}

pub(super) fn eventfd() -> EventFd {
    EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).unwrap()
}

impl FakeChip {
    pub(super) fn new(ram: &Ram) -> Arc<Self> {
        let mut config = [0; 256];
        config[..4].copy_from_slice(&[0x00, 0x10, 0x12, 0x00]);
        Arc::new(Self {
            ram: ram.clone(),
            state: Mutex::new(State {
                config,
                registers: [0; 256],
                scripts: vec![0; 0x2000],
                start: START_QUEUE,
                done: DONE_QUEUE,
                log: Vec::new(),
            }),
            trigger: eventfd(),
            resample: eventfd(),
            over: eventfd(),
        })
    }

    /// The device for a machine, and the thread that answers ends of interrupt; see [`FakeChip::finish`].
    pub(super) fn attach(self: &Arc<Self>, vcpus: usize) -> (DeviceAttachment, JoinHandle<()>) {
        let buses = (0..vcpus).map(|vcpu| -> Box<dyn GuestBus> {
            Box::new(FakeBus {
                chip: Arc::clone(self),
                vcpu,
            })
        });
        let device = DeviceAttachment {
            buses: buses.collect(),
            trigger: self.trigger.try_clone().unwrap(),
            resample: self.resample.try_clone().unwrap(),
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
            if self.resample.read().is_ok() {
                let state = self.state.lock().unwrap();
                self.settle(&state);
            }
        }
    }

    fn settle(&self, state: &State) {
        if state.registers[usize::from(ISTAT0)] & (istat0::INTF | istat0::SIP | istat0::DIP) != 0 {
            self.trigger.write(1).unwrap();
        }
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
            self.ram
                .store(block + task::STATUS_BYTE, u32::from(status))
                .unwrap();
            self.ram.store(state.done + done_slot::TASK, block).unwrap();
            state.done = word(state.done + done_slot::NEXT);
            state.start = word(state.start + start_slot::NEXT);
            state.registers[usize::from(ISTAT0)] |= istat0::INTF;
        }
    }

    fn write(&self, vcpu: usize, address: u64, data: &[u8]) -> bool {
        let mut state = self.state.lock().unwrap();
        if let Some(at) = address.checked_sub(0xfe00_2000).filter(|&at| at < 0x2000) {
            let at = usize::try_from(at).unwrap();
            state.scripts[at..at + data.len()].copy_from_slice(data);
            return true;
        }
        let Some(register) = address.checked_sub(0xfe00_0000).filter(|&at| at < 0x100) else {
            return false;
        };
        let register = u8::try_from(register).unwrap();
        state
            .log
            .push(format!("{vcpu}: {register:#04x} = {data:02x?}"));
        match (register, data) {
            (ISTAT0, &[value]) => {
                let place = &mut state.registers[usize::from(ISTAT0)];
                *place &= !(value & istat0::INTF);
                if value & istat0::SIGP != 0 {
                    self.signalled(&mut state);
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
                self.signalled(&mut state);
            }
            _ => state.registers[usize::from(register)..][..data.len()].copy_from_slice(data),
        }
        self.settle(&state);
        true
    }

    fn read(&self, address: u64, data: &mut [u8]) -> bool {
        let mut state = self.state.lock().unwrap();
        let Some(at) = address.checked_sub(0xfe00_0000).filter(|&at| at < 0x100) else {
            return false;
        };
        let at = usize::try_from(at).unwrap();
        data.copy_from_slice(&state.registers[at..at + data.len()]);
        if at == usize::from(SIST1) {
            state.registers[at] = 0;
        }
        true
    }
}

#[derive(Debug)]
struct FakeBus {
    chip: Arc<FakeChip>,
    vcpu: usize,
}

impl GuestBus for FakeBus {
    fn mmio_read(&mut self, address: u64, data: &mut [u8]) -> bool {
        self.chip.read(address, data)
    }

    fn mmio_write(&mut self, address: u64, data: &[u8]) -> bool {
        self.chip.write(self.vcpu, address, data)
    }

    fn pio_read(&mut self, _: u16, _: &mut [u8]) -> bool {
        false
    }

    fn pio_write(&mut self, _: u16, _: &[u8]) -> bool {
        false
    }

    fn config_read(&mut self, offset: u16, width: Width) -> u64 {
        let state = self.chip.state.lock().unwrap();
        let bytes: [u8; 8] = state.config[usize::from(offset)..][..8].try_into().unwrap();
        u64::from_le_bytes(bytes) & width.mask()
    }

    fn config_write(&mut self, offset: u16, width: Width, value: u64) {
        let mut state = self.chip.state.lock().unwrap();
        state.log.push(format!(
            "config {offset:#04x} {} = {value:#x}",
            width.bytes()
        ));
        let at = usize::from(offset);
        state.config[at..at + usize::from(width.bytes())]
            .copy_from_slice(&value.to_le_bytes()[..usize::from(width.bytes())]);
    }
}
