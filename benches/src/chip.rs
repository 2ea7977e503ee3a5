//! The device alone, in this process and without a VMM: what its own work costs.

mod queue;

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use outrigger_block::Backend;
use outrigger_device::device::Progress;
use outrigger_device::dma::Mapping;
use outrigger_device::pci::Function;
use outrigger_emulator::lsi::{Lsi, Model};
use outrigger_emulator::scsi::{Bus, Disk, DiskOptions};
use outrigger_ring::{Access, Width};
use outrigger_vmm::Ram;
use outrigger_vmm::guest::assembler::{Assembler, Condition, Operator, Phase, signal};
use outrigger_vmm::guest::registers::{DSP, DSPS, DSTAT, ISTAT0, SIST0};

use crate::cdbs;
pub use queue::{Queue, REQUESTS};

const SCRIPT: u32 = 0x1000;
const MESSAGE: u32 = 0x8000;
const CDB: u32 = 0x8010;
const ENDS: u32 = 0x8020;
const DATA: u32 = 0x1_0000;
const RAM_BYTES: u64 = 2 << 20;
const CONFIG_REGION: u8 = 7;
const REGISTERS: u8 = 1;
/// SCRATCHA's first byte.
const SCRATCHA: u8 = 0x34;
const DONE: u32 = 0x99;
const NOBODY: u32 = 0x11;

/// Instructions of a [`Chip::scripts`] run.
pub const INSTRUCTIONS: u32 = 1024;
/// Bytes of a read.
pub const READ_BYTES: u32 = 4096;

/// A 53C895A with this bus, which reaches all of `ram`.
pub(crate) fn controller(bus: Bus, ram: &Ram) -> Result<Function> {
    let mut function = Function::new(Box::new(Lsi::new(Model::Lsi53c895a, bus)));
    let memory = ram.file().context("guest RAM without a file")?;
    function.map(Mapping {
        address: 0,
        size: ram.bytes(),
        fd: memory.try_clone()?.into(),
        offset: 0,
        readable: true,
        writable: true,
    })?;
    Ok(function)
}

/// A 53C895A with one disk in memory, and the RAM that it reaches.
#[derive(Debug)]
pub struct Chip {
    function: Function,
    ram: Ram,
}

impl Chip {
    /// A chip whose disk has taken its unit attention.
    ///
    /// # Errors
    /// If there is no memory for it, or it does not work.
    pub fn new() -> Result<Self> {
        let mut bus = Bus::new();
        let disk = Disk::new(
            Backend::memory(vec![7; 1 << 20], false),
            DiskOptions::default(),
        )?;
        bus.attach(0, 0, disk.into())?;
        let ram = Ram::new(RAM_BYTES)?;
        let mut function = controller(bus, &ram)?;
        // COMMAND: memory space, bus master.
        let command = Access {
            region: CONFIG_REGION,
            offset: 4,
            width: Width::Word,
        };
        function.write(command, 6);
        let mut chip = Self { function, ram };
        chip.prepare_test_unit_ready()?;
        chip.run(DONE)?;
        chip.run(DONE)?;
        Ok(chip)
    }

    /// Puts [`INSTRUCTIONS`] SCRIPTS instructions in RAM: register arithmetic, and an INT at the end.
    ///
    /// # Errors
    /// None on a machine with RAM.
    pub fn prepare_scripts(&mut self) -> Result<()> {
        let mut script = Assembler::new(SCRIPT);
        for _ in 1..INSTRUCTIONS {
            script.modify(SCRATCHA, Operator::Add, 1);
        }
        script.interrupt(DONE, Condition::ALWAYS);
        self.load(script)
    }

    /// Runs what was prepared by [`Chip::prepare_scripts`].
    ///
    /// # Errors
    /// The chip stops in another way than it should.
    pub fn scripts(&mut self) -> Result<()> {
        self.run(DONE)
    }

    /// Puts a TEST UNIT READY in RAM: selection, message, command, status.
    ///
    /// # Errors
    /// As [`Chip::prepare_scripts`].
    pub fn prepare_test_unit_ready(&mut self) -> Result<()> {
        self.prepare_command(cdbs::TEST_UNIT_READY, 0)
    }

    /// Puts a READ (10) of [`READ_BYTES`] in RAM.
    ///
    /// # Errors
    /// As [`Chip::prepare_scripts`].
    pub fn prepare_read(&mut self) -> Result<()> {
        self.prepare_command(cdbs::READ_10, READ_BYTES)
    }

    /// Runs the command that was prepared, whose status must be GOOD.
    ///
    /// # Errors
    /// Another status, or the chip stops in another way than it should.
    pub fn command(&mut self) -> Result<()> {
        self.run(DONE)?;
        let mut status = [0xff];
        self.ram.read(ENDS.into(), &mut status)?;
        if status != [0] {
            bail!("status {:#x}", status[0]);
        }
        Ok(())
    }

    fn prepare_command(&mut self, cdb: &[u8], data: u32) -> Result<()> {
        // IDENTIFY, without the right to disconnect.
        self.ram.write(MESSAGE.into(), &[0x80])?;
        self.ram.write(CDB.into(), cdb)?;
        let mut script = Assembler::new(SCRIPT);
        let nobody = script.label();
        let status = script.label();
        script.select(0, true, nobody);
        script.move_direct(1, MESSAGE, Phase::MessageOut);
        script.move_direct(u32::try_from(cdb.len())?, CDB, Phase::Command);
        if data > 0 {
            script.jump(status, Condition::when_not(Phase::DataIn));
            script.move_direct(data, DATA, Phase::DataIn);
        }
        script.bind(status);
        script.move_direct(1, ENDS, Phase::Status);
        script.move_direct(1, ENDS + 1, Phase::MessageIn);
        script.clear(signal::ACK);
        script.wait_disconnect();
        script.interrupt(DONE, Condition::ALWAYS);
        script.bind(nobody);
        script.interrupt(NOBODY, Condition::ALWAYS);
        self.load(script)
    }

    fn load(&mut self, script: Assembler) -> Result<()> {
        let program = script.finish()?;
        Ok(self.ram.write(SCRIPT.into(), program.bytes())?)
    }

    /// Starts the script and runs the chip until it stops, as the worker does.
    fn run(&mut self, code: u32) -> Result<()> {
        self.function
            .write(register(DSP, Width::Dword), SCRIPT.into());
        let now = Instant::now();
        while self.function.run(now) == Progress::More {}
        let istat = self.function.read(register(ISTAT0, Width::Byte));
        let found = self.function.read(register(DSPS, Width::Dword));
        let dstat = self.function.read(register(DSTAT, Width::Byte));
        let _ = self.function.read(register(SIST0, Width::Word));
        if found != u64::from(code) {
            bail!("the chip stopped at {found:#x}: ISTAT0 {istat:#x}, DSTAT {dstat:#x}");
        }
        Ok(())
    }
}

fn register(offset: u8, width: Width) -> Access {
    Access {
        region: REGISTERS,
        offset: offset.into(),
        width,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chip_does_what_is_measured() {
        let mut chip = Chip::new().unwrap();
        chip.prepare_scripts().unwrap();
        chip.scripts().unwrap();
        chip.prepare_test_unit_ready().unwrap();
        chip.command().unwrap();
        chip.prepare_read().unwrap();
        chip.command().unwrap();
        let mut data = vec![0; READ_BYTES as usize];
        chip.ram.read(DATA.into(), &mut data).unwrap();
        assert!(data.iter().all(|&byte| byte == 7));
    }
}
