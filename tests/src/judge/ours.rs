//! Our chip in this process, behind its PCI function.

use std::fmt;
use std::io;
use std::time::Instant;

use outrigger_block::DelayHandle;
use outrigger_device::device::Progress;
use outrigger_device::dma::Mapping;
use outrigger_device::pci::{CONFIG_REGION, Function};
use outrigger_emulator::lsi::{Lsi, Model};
use outrigger_proxy::Width;
use outrigger_ring::Access;
use outrigger_vmm::Ram;

use super::chip::{ABOVE, Action, Chip, IO, RAM, REGISTERS, SCRIPTS_RAM};
use super::units::Disks;

/// Slices that it is given after an access: SCRIPTS that go on after these go on for ever.
const SLICES: u32 = 4;

/// The chip, its RAM and the disks' brakes.
pub struct Ours {
    function: Function,
    ram: Ram,
    handles: Vec<DelayHandle>,
    /// The clock stands still.
    now: Instant,
}

impl fmt::Debug for Ours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.function.fmt(f)
    }
}

impl Ours {
    /// A chip that is set up as firmware does it.
    ///
    /// # Panics
    /// If there is no memory or no descriptor left.
    #[must_use]
    pub fn new(model: Model, disks: &Disks) -> Self {
        let (bus, handles) = disks.bus();
        let ram = Ram::new(2 * RAM).expect("guest RAM");
        let mut function = Function::new(Box::new(Lsi::new(model, bus)));
        for (address, offset) in [(0, 0), (ABOVE, RAM)] {
            let memory = ram.file().expect("a file").try_clone();
            let mapping = Mapping {
                address,
                size: RAM,
                fd: memory.expect("a descriptor").into(),
                offset,
                readable: true,
                writable: true,
            };
            function.map(mapping).expect("mapped RAM");
        }
        let mut config = |offset, value: u32| {
            let access = Access {
                region: CONFIG_REGION,
                offset,
                width: Width::Dword,
            };
            function.write(access, value.into());
        };
        config(0x10, IO.into());
        config(0x14, REGISTERS);
        config(0x18, SCRIPTS_RAM);
        config(0x04, 7);
        Self {
            function,
            ram,
            handles,
            now: Instant::now(),
        }
    }

    fn run(&mut self) {
        for _ in 0..SLICES {
            if self.function.run(self.now) == Progress::Idle {
                return;
            }
        }
    }
}

impl Chip for Ours {
    fn act(&mut self, actions: &[Action]) -> io::Result<Vec<Vec<u8>>> {
        let mut seen = Vec::new();
        for action in actions {
            match *action {
                Action::Write {
                    bar,
                    at,
                    width,
                    value,
                } => {
                    let access = Access {
                        region: bar,
                        offset: at.into(),
                        width,
                    };
                    self.function.write(access, value.into());
                    self.run();
                }
                Action::Read { bar, at, bytes } => {
                    let read = (u64::from(at)..).take(bytes.into()).map(|offset| {
                        let access = Access {
                            region: bar,
                            offset,
                            width: Width::Byte,
                        };
                        self.function.read(access).to_le_bytes()[0]
                    });
                    seen.push(read.collect());
                }
                Action::Line => seen.push(vec![self.function.interrupt().into()]),
            }
        }
        Ok(seen)
    }

    fn poke(&self, address: u32, bytes: &[u8]) -> io::Result<()> {
        let written = self.ram.write(address.into(), bytes);
        written.map_err(io::Error::other)
    }

    fn peek(&self, address: u32, bytes: &mut [u8]) -> io::Result<()> {
        let read = self.ram.read(address.into(), bytes);
        read.map_err(io::Error::other)
    }

    fn fill(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (words, _) = bytes.as_chunks::<4>();
        for (offset, word) in (0..).step_by(4).zip(words) {
            let access = Access {
                region: 2,
                offset,
                width: Width::Dword,
            };
            self.function
                .write(access, u32::from_le_bytes(*word).into());
        }
        Ok(())
    }

    fn holds(&self) -> bool {
        self.handles.iter().any(|handle| handle.held() > 0)
    }

    fn release(&mut self) {
        for handle in &self.handles {
            handle.release(handle.held() as u64);
        }
        self.run();
    }
}
