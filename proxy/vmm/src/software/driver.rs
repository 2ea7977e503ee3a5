//! The driver, step by step as the guest's program has it.

use crate::board::Board;
use crate::error::VmmError;
use crate::guest::layout::{
    CONTROL, FREE_RING, INTERRUPT_LINE, QUEUE_SLOTS, REQUESTS, SEGMENTS, SENSE_OFFSET, SETUP_TABLE,
    control, done_slot, fatal, port, request, sense, start_slot, task,
};
use crate::guest::registers::{DSA, DSP, DSPS, DSTAT, ISTAT0, SIST0, SIST1, SIST1_STO, istat0};
use crate::guest::scripts::Scripts;
use crate::ram::Ram;

const CONFIG_ADDRESS: u16 = 0xcf8;
const CONFIG_DATA: u16 = 0xcfc;

/// The driver on one vCPU.
#[derive(Debug)]
pub(super) struct Driver<'a> {
    ram: &'a Ram,
    scripts: &'a Scripts,
    board: &'a mut Board,
    registers: u64,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        ram: &'a Ram,
        scripts: &'a Scripts,
        board: &'a mut Board,
    ) -> Result<Self, VmmError> {
        let registers = ram.load(CONTROL + control::BAR_REGISTERS)?.into();
        Ok(Self {
            ram,
            scripts,
            board,
            registers,
        })
    }

    fn get(&self, offset: u32) -> Result<u32, VmmError> {
        self.ram.load(CONTROL + offset)
    }

    fn put(&self, offset: u32, value: u32) -> Result<(), VmmError> {
        self.ram.store(CONTROL + offset, value)
    }

    fn increment(&self, offset: u32) -> Result<(), VmmError> {
        self.put(offset, self.get(offset)?.wrapping_add(1))
    }

    fn read<const N: usize>(&mut self, register: u8) -> [u8; N] {
        let mut data = [0; N];
        self.board
            .memory_read(self.registers + u64::from(register), &mut data);
        data
    }

    fn read_byte(&mut self, register: u8) -> u8 {
        let [byte] = self.read(register);
        byte
    }

    fn write(&mut self, register: u8, data: &[u8]) {
        self.board
            .memory_write(self.registers + u64::from(register), data);
    }

    fn address_config(&mut self, register: u32) {
        self.board
            .port_write(CONFIG_ADDRESS, &(0x8000_0800 | register).to_le_bytes());
    }

    /// Config space: the right device, its BARs, decoding and bus mastering. Whether it is the right device.
    pub(super) fn find_device(&mut self) -> Result<bool, VmmError> {
        let mut id = [0; 4];
        self.address_config(0);
        self.board.port_read(CONFIG_DATA, &mut id);
        if u32::from_le_bytes(id) != self.get(control::DEVICE_ID)? {
            return Ok(false);
        }
        let bars = [
            (0x10, control::BAR_IO),
            (0x14, control::BAR_REGISTERS),
            (0x18, control::BAR_SCRIPTS),
        ];
        for (register, base) in bars {
            self.address_config(register);
            self.board
                .port_write(CONFIG_DATA, &self.get(base)?.to_le_bytes());
        }
        self.address_config(0x3c);
        self.board.port_write(CONFIG_DATA, &[INTERRUPT_LINE]);
        self.address_config(0x04);
        self.board.port_write(CONFIG_DATA, &7_u16.to_le_bytes());
        Ok(true)
    }

    /// The chip: reset, setup, SCRIPTS, start.
    pub(super) fn start_chip(&mut self) -> Result<(), VmmError> {
        self.write(ISTAT0, &[istat0::SRST]);
        self.write(ISTAT0, &[0]);
        for index in 0..self.get(control::SETUP_COUNT)? {
            let [value, register, ..] = self.ram.load(SETUP_TABLE + 4 * index)?.to_le_bytes();
            self.write(register, &[value]);
        }
        let window = u64::from(self.get(control::BAR_SCRIPTS)?);
        for (at, word) in (window..).step_by(4).zip(self.scripts.image.chunks(4)) {
            self.board.memory_write(at, word);
        }
        self.write(DSP, &self.get(control::ENTRY)?.to_le_bytes());
        self.board.port_write(port::MARK, &[0]);
        self.put(control::READY, 1)
    }

    /// Starts requests while there are requests, the host allows them and tasks are free.
    pub(super) fn submit(&mut self) -> Result<(), VmmError> {
        loop {
            let next = self.get(control::SUBMITTED)?;
            let head = self.get(control::FREE_HEAD)?;
            let allowed = self.get(control::COUNT)?.min(self.get(control::LIMIT)?);
            if next >= allowed || head == self.get(control::FREE_TAIL)? {
                return Ok(());
            }
            let block = self.ram.load(FREE_RING + 4 * (head % QUEUE_SLOTS))?;
            self.put(control::FREE_HEAD, head.wrapping_add(1))?;
            self.put(control::SUBMITTED, next + 1)?;
            self.fill(block, REQUESTS + next * request::BYTES)?;

            // The next slot is empty before this one is not.
            let slot = self.get(control::START_POSITION)?;
            let following = self.ram.load(slot + start_slot::NEXT)?;
            self.ram
                .store(following + start_slot::JUMP, self.scripts.idle)?;
            self.ram.store(slot + start_slot::TASK, block)?;
            self.ram
                .store(slot + start_slot::JUMP, self.scripts.start)?;
            self.put(control::START_POSITION, following)?;
            self.write(ISTAT0, &[istat0::SIGP]);
        }
    }

    /// Makes the task block say what the request says.
    fn fill(&self, block: u32, from: u32) -> Result<(), VmmError> {
        let store = |offset: u32, value: u32| self.ram.store(block + offset, value);
        let [target, lun, direction, cdb_length] =
            self.ram.load(from + request::FLAGS)?.to_le_bytes();
        store(task::REQUEST, from)?;
        store(task::SELECT, u32::from(target) << 16)?;
        store(task::COMMAND, cdb_length.into())?;
        store(task::COMMAND + 4, from + request::CDB)?;
        let message = self.ram.load(block + task::MESSAGE_BYTES)? & !0xff;
        store(task::MESSAGE_BYTES, message | 0xc0 | u32::from(lun))?;
        store(task::STATUS_BYTE, 0xff)?;

        let mut address = self.ram.load(from + request::ADDRESS)?;
        let mut left = self.ram.load(from + request::LENGTH)?;
        let segment = 1_u32 << self.get(control::SEGMENT_SHIFT)?;
        let segments = left.div_ceil(segment);
        let mut entry = task::SEGMENTS + 8 * SEGMENTS.saturating_sub(segments);
        while left != 0 {
            let length = left.min(segment);
            store(entry, length)?;
            store(entry + 4, address)?;
            address = address.wrapping_add(length);
            left -= length;
            entry += 8;
        }
        let (mut data_in, mut data_out) = (self.scripts.overrun, self.scripts.overrun);
        match (segments, direction) {
            (0, _) => {}
            (_, 0) => data_in = self.scripts.data_in_end - 8 * segments,
            _ => data_out = self.scripts.data_out_end - 8 * segments,
        }
        store(task::DATA_IN, data_in)?;
        store(task::DATA_OUT, data_out)
    }

    /// The interrupt: reads why the chip interrupts and takes completions.
    pub(super) fn service(&mut self, submits: bool) -> Result<(), VmmError> {
        self.increment(control::INTERRUPTS)?;
        let mut status = self.read_byte(ISTAT0);
        if status & istat0::INTF != 0 {
            // A signal that the SCRIPTS have not seen yet must survive this write. Where other vCPUs signal, one may
            // have come since the read: one too many is harmless, one lost is not.
            let signal = if submits {
                status & istat0::SIGP
            } else {
                istat0::SIGP
            };
            self.write(ISTAT0, &[signal | istat0::INTF]);
            status = self.read_byte(ISTAT0);
            self.take_completions()?;
        }
        if status & (istat0::SIP | istat0::DIP) != 0 {
            self.chip_error(status)?;
        }
        if submits { self.submit() } else { Ok(()) }
    }

    /// The interrupt controller's part, after the handler. Whether the device knows already.
    pub(super) fn end_of_interrupt(&mut self) -> bool {
        self.board.end_of_interrupt()
    }

    fn take_completions(&self) -> Result<(), VmmError> {
        let mut slot = self.get(control::DONE_POSITION)?;
        loop {
            let block = self.ram.load(slot + done_slot::TASK)?;
            if block == 0 {
                return self.put(control::DONE_POSITION, slot);
            }
            self.ram.store(slot + done_slot::TASK, 0)?;
            slot = self.ram.load(slot + done_slot::NEXT)?;
            let status = self.ram.load(block + task::STATUS_BYTE)? & 0xff;
            self.finish(block, status)?;
        }
    }

    fn finish(&self, mut block: u32, mut status: u32) -> Result<(), VmmError> {
        if block & SENSE_OFFSET != 0 {
            (block, status) = self.sense(block, status)?;
        }
        if status != 0 {
            self.increment(control::ERRORS)?;
        }
        let from = self.ram.load(block + task::REQUEST)?;
        self.ram
            .store(from + request::RESULT, status | request::DONE)?;
        let tail = self.get(control::FREE_TAIL)?;
        self.ram
            .store(FREE_RING + 4 * (tail % QUEUE_SLOTS), block)?;
        self.put(control::FREE_TAIL, tail.wrapping_add(1))?;
        self.increment(control::COMPLETED)
    }

    /// The REQUEST SENSE `block` is done, so the task that it is for is done: that task and how it ended.
    fn sense(&self, block: u32, status: u32) -> Result<(u32, u32), VmmError> {
        let task = block - SENSE_OFFSET;
        let mut result = 0;
        if status == 0 {
            result = request::SENSE;
            let from = self.ram.load(task + task::REQUEST)?;
            for offset in (0..16).step_by(4) {
                let word = self.ram.load(block + sense::DATA + offset)?;
                self.ram.store(from + request::CDB + offset, word)?;
                self.ram.store(block + sense::DATA + offset, 0)?;
            }
        }
        // Ready for the next time, whatever came this time.
        for (offset, value) in [
            (task::LAST_SEGMENT, sense::LENGTH),
            (task::LAST_SEGMENT + 4, block + sense::DATA),
            (task::DATA_IN, self.scripts.data_in_end - 8),
        ] {
            self.ram.store(block + offset, value)?;
        }
        let failed = self.ram.load(task + task::STATUS_BYTE)? & 0xff;
        Ok((task, result | failed))
    }

    /// The chip stopped. Nobody at that address: the request has failed and the SCRIPTS go on. Else the run has failed.
    fn chip_error(&mut self, istat0: u8) -> Result<(), VmmError> {
        let sist0 = self.read_byte(SIST0);
        let sist1 = self.read_byte(SIST1);
        let dstat = self.read_byte(DSTAT);
        self.put(
            control::ERROR_STATUS,
            u32::from_le_bytes([sist1, dstat, istat0, sist0]),
        )?;
        if (sist0, sist1) == (0, SIST1_STO) {
            let block = u32::from_le_bytes(self.read(DSA));
            self.finish(block, request::NO_TARGET)?;
            self.write(DSP, &self.scripts.selection_failed.to_le_bytes());
            return Ok(());
        }
        let (dsps, dsp) = (
            u32::from_le_bytes(self.read(DSPS)),
            u32::from_le_bytes(self.read(DSP)),
        );
        self.put(control::ERROR_DSPS, dsps)?;
        self.put(control::ERROR_DSP, dsp)?;
        self.put(control::FATAL, fatal::CHIP)
    }

    /// One look at ISTAT0.
    pub(super) fn poll_status(&mut self) -> Result<(), VmmError> {
        self.read_byte(ISTAT0);
        self.increment(control::POLLS)
    }
}
