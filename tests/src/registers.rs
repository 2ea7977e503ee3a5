//! A guest's hands at the chip's registers: BARs, registers, scripts in guest RAM, single commands.

use outrigger_proxy::Width;
use outrigger_vmm::guest::assembler::{Assembler, Condition, Operator, Phase, signal};
use outrigger_vmm::guest::registers::{
    DIEN, DSP, DSPS, DSTAT, ISTAT0, SCNTL2, SIEN0, SIEN1, SIST0, SIST1, istat0,
};

use crate::PATIENCE;
use crate::front::{Attached, Front, everywhere, readable};
use crate::place::Image;

/// Where BAR 0, the registers in port I/O space, is put.
pub const IO: u16 = 0xc000;
/// Where BAR 1, the registers in memory space, is put.
pub const REGISTERS: u64 = 0xfe00_0000;
/// Where BAR 2, SCRIPTS RAM, is put.
pub const SCRIPTS_RAM: u64 = 0xfe00_2000;
/// Where scripts are put in guest RAM.
pub const SCRIPT: u32 = 0x1_0000;
/// Messages, commands and statuses of [`Attached::command`].
const TABLE: u32 = 0x2_0000;
/// Room for data.
pub const DATA: u32 = 0x10_0000;
/// No guest RAM: DMA to it is a bus fault.
pub const OUTSIDE: u32 = 0xf000_0000;

/// INT with this code ends [`Attached::command`]'s script.
const DONE: u32 = 0xd09e;

/// Why SCRIPTS stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stop {
    /// ISTAT0's interrupt bits, before the others were read.
    pub istat0: u8,
    /// DSTAT without the bit that says that the FIFO is empty.
    pub dstat: u8,
    /// SIST0.
    pub sist0: u8,
    /// SIST1.
    pub sist1: u8,
    /// DSPS: the code of an INT instruction, else what the last instruction left there.
    pub dsps: u32,
}

/// DSTAT: an INT instruction was executed.
pub const DSTAT_SIR: u8 = 0x04;
/// DSTAT: an illegal instruction was met.
pub const DSTAT_IID: u8 = 0x01;
/// DSTAT: a bus fault.
pub const DSTAT_BF: u8 = 0x20;
/// SIST0: the target asked for another phase than the move's.
pub const SIST0_MA: u8 = 0x80;

impl Stop {
    /// Whether an INT instruction with this code stopped the SCRIPTS, and nothing else happened.
    #[must_use]
    pub fn is_int(&self, code: u32) -> bool {
        *self
            == Self {
                istat0: istat0::DIP,
                dstat: DSTAT_SIR,
                dsps: code,
                ..Self::default()
            }
    }
}

/// A command's data.
#[derive(Clone, Copy, Debug)]
pub enum Data {
    /// None.
    None,
    /// So many bytes to [`DATA`], or fewer: then a script must not look at where the move ended.
    In(u32),
    /// So many bytes from [`DATA`].
    Out(u32),
}

/// As [`everywhere`], with BARs and interrupts set up.
pub fn set_up_everywhere(disk: &[u8], mut test: impl FnMut(Front, &mut Attached, &Image)) {
    everywhere(disk, |front, device, image| {
        device.set_up();
        test(front, device, image);
    });
}

/// A CDB of ten bytes: operation code, logical block address, transfer length.
#[must_use]
pub const fn cdb10(operation: u8, block: u32, count: u16) -> [u8; 10] {
    let [a, b, c, d] = block.to_be_bytes();
    let [high, low] = count.to_be_bytes();
    [operation, 0, a, b, c, d, 0, high, low, 0]
}

impl Attached {
    /// Puts the BARs where this module expects them and turns decoding, bus mastering and the chip's interrupts on.
    pub fn set_up(&mut self) {
        let port = &mut self.ports[0];
        for (offset, base) in [(0x10, IO.into()), (0x14, REGISTERS), (0x18, SCRIPTS_RAM)] {
            port.config_write(offset, Width::Dword, base);
        }
        port.config_write(0x04, Width::Word, 7);
        for (register, value) in [(DIEN, 0x7d), (SIEN0, 0x8f), (SIEN1, 0x17)] {
            self.write(register, &[value]);
        }
    }

    /// Reads registers through the first vCPU's port.
    ///
    /// # Panics
    /// If nothing decodes them.
    pub fn read<const N: usize>(&mut self, register: u8) -> [u8; N] {
        self.read_on(0, register)
    }

    /// Reads registers through a vCPU's port.
    ///
    /// # Panics
    /// If nothing decodes them.
    pub fn read_on<const N: usize>(&mut self, vcpu: usize, register: u8) -> [u8; N] {
        let mut data = [0; N];
        let address = REGISTERS + u64::from(register);
        assert!(self.ports[vcpu].mmio_read(address, &mut data));
        data
    }

    /// Reads one register byte.
    pub fn byte(&mut self, register: u8) -> u8 {
        let [byte] = self.read(register);
        byte
    }

    /// Reads a register of four bytes.
    pub fn dword(&mut self, register: u8) -> u32 {
        u32::from_le_bytes(self.read(register))
    }

    /// Writes registers through the first vCPU's port.
    pub fn write(&mut self, register: u8, data: &[u8]) {
        self.write_on(0, register, data);
    }

    /// Writes registers through a vCPU's port.
    ///
    /// # Panics
    /// If nothing decodes them.
    pub fn write_on(&mut self, vcpu: usize, register: u8, data: &[u8]) {
        let address = REGISTERS + u64::from(register);
        assert!(self.ports[vcpu].mmio_write(address, data));
    }

    /// Waits for the interrupt line's trigger and takes it.
    ///
    /// # Panics
    /// If it does not come.
    pub fn wait_for_interrupt(&self) {
        assert!(
            readable(self.intx.trigger_fd(), PATIENCE),
            "no interrupt came"
        );
        assert!(self.intx.take_trigger());
    }

    /// Puts a script into guest RAM and starts it.
    ///
    /// # Panics
    /// If the script cannot be assembled.
    pub fn start(&mut self, script: impl FnOnce(&mut Assembler)) {
        let mut assembler = Assembler::new(SCRIPT);
        script(&mut assembler);
        let program = assembler.finish().expect("a script");
        self.ram
            .write(SCRIPT.into(), program.bytes())
            .expect("RAM for the script");
        self.write(DSP, &SCRIPT.to_le_bytes());
    }

    /// Waits until SCRIPTS stop, and takes the interrupt as a driver does. One without a reason is acknowledged and
    /// forgotten: an end of interrupt that is seen late repeats an interrupt.
    ///
    /// # Panics
    /// If they do not stop.
    pub fn stop(&mut self) -> Stop {
        let istat0 = loop {
            self.wait_for_interrupt();
            let reasons = self.byte(ISTAT0) & (istat0::INTF | istat0::SIP | istat0::DIP);
            if reasons != 0 {
                break reasons;
            }
            self.intx.end_of_interrupt().expect("an acknowledgement");
        };
        let sist0 = self.byte(SIST0);
        let sist1 = self.byte(SIST1);
        let dstat = self.byte(DSTAT) & 0x7f;
        let dsps = self.dword(DSPS);
        self.intx.end_of_interrupt().expect("an acknowledgement");
        Stop {
            istat0,
            dstat,
            sist0,
            sist1,
            dsps,
        }
    }

    /// Runs a script until it stops.
    pub fn script(&mut self, script: impl FnOnce(&mut Assembler)) -> Stop {
        self.start(script);
        self.stop()
    }

    /// A command for LUN 0 of `target`, from selection to COMMAND COMPLETE: its status, or why it did not come so far.
    ///
    /// # Errors
    /// The SCRIPTS stopped before.
    ///
    /// # Panics
    /// If they do not stop at all.
    pub fn command(&mut self, target: u8, cdb: &[u8], data: Data) -> Result<u8, Stop> {
        self.ram.write(TABLE.into(), &[0x80]).expect("RAM");
        self.ram.write((TABLE + 0x10).into(), cdb).expect("RAM");
        let length = u32::try_from(cdb.len()).expect("a short command");
        let stop = self.script(|s| {
            let (status, fail) = (s.label(), s.label());
            s.select(target, true, fail);
            s.move_direct(1, TABLE, Phase::MessageOut);
            s.move_direct(length, TABLE + 0x10, Phase::Command);
            let (phase, count) = match data {
                Data::None => (Phase::Status, 0),
                Data::In(count) => (Phase::DataIn, count),
                Data::Out(count) => (Phase::DataOut, count),
            };
            if count > 0 {
                s.jump(status, Condition::when_not(phase));
                s.move_direct(count, DATA, phase);
            }
            s.bind(status);
            s.move_direct(1, TABLE + 0x20, Phase::Status);
            s.move_direct(1, TABLE + 0x21, Phase::MessageIn);
            s.modify(SCNTL2, Operator::And, 0x7f);
            s.clear(signal::ACK);
            s.wait_disconnect();
            s.interrupt(DONE, Condition::ALWAYS);
            s.bind(fail);
            s.interrupt(0, Condition::ALWAYS);
        });
        if !stop.is_int(DONE) {
            return Err(stop);
        }
        let mut status = [0];
        self.ram
            .read((TABLE + 0x20).into(), &mut status)
            .expect("RAM");
        Ok(status[0])
    }

    /// The sense of the target's last command: its key, and the additional code with its qualifier.
    ///
    /// # Panics
    /// If the target does not tell.
    pub fn sense(&mut self, target: u8) -> (u8, u16) {
        let request = self.command(target, &[3, 0, 0, 0, 18, 0], Data::In(18));
        assert_eq!(request, Ok(0));
        let sense = self.data(18);
        (sense[2] & 0xf, u16::from_be_bytes([sense[12], sense[13]]))
    }

    /// Takes the unit attention of a target.
    ///
    /// # Panics
    /// If that does not work.
    pub fn clear_attention(&mut self, target: u8) {
        assert_eq!(self.command(target, &[0; 6], Data::None), Ok(2));
        assert_eq!(
            self.command(target, &[3, 0, 0, 0, 18, 0], Data::In(18)),
            Ok(0)
        );
        assert_eq!(self.command(target, &[0; 6], Data::None), Ok(0));
    }

    /// What is at [`DATA`].
    ///
    /// # Panics
    /// If it is longer than RAM.
    #[must_use]
    pub fn data(&self, bytes: usize) -> Vec<u8> {
        let mut data = vec![0; bytes];
        self.ram.read(DATA.into(), &mut data).expect("RAM");
        data
    }

    /// Puts bytes at [`DATA`].
    ///
    /// # Panics
    /// If they do not fit.
    pub fn put_data(&self, bytes: &[u8]) {
        self.ram.write(DATA.into(), bytes).expect("RAM");
    }
}
