//! The way of NetBSD's and OpenBSD's `siop`: all of a command in a table at DSA, slots that the host opens by patching a jump and SCRIPTS
//! close by a memory move, and a host that serves messages, phase mismatches and reselections.

mod script;

use super::super::{DATA, DIP, Rig, SIP, TABLE, image, length, read10, write10};
use super::program::Program;
use super::{BOTH, rig_with};
use crate::lsi::Model::{self, Lsi53c895a};
use crate::lsi::Phase::{self, DataOut, MessageIn, Status};
use crate::lsi::at;
use outrigger_block::{Backend, DelayHandle, Hold};
use outrigger_device::device::Width;
use script::{
    DISCONNECT, DONE, EXTENDED, EXTENDED_DATA, FREE, IN_DATA, MESSAGE, RESELECT, SIZE, program, t,
};

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Status(u8),
    SelectionTimeOut,
}

/// The driver.
struct Driver {
    rig: Rig,
    program: Program,
    /// The table of the command that SCRIPTS work on.
    active: u32,
    /// What did not move in the last entry that was cut short.
    residue: u32,
    /// What happened, in the driver's words.
    events: Vec<&'static str>,
}

impl Driver {
    /// Chip and bus are reset, and the scheduler waits for a reselection.
    fn start(model: Model, backend: Backend) -> Self {
        let mut rig = rig_with(model, backend);
        let wide = model == Lsi53c895a;
        rig.w8(at::SCNTL1, 0x08);
        rig.w8(at::SCNTL1, 0x00);
        rig.w8(at::ISTAT0, 0x40);
        rig.w8(at::ISTAT0, 0x00);
        for (register, value) in [
            (at::SCNTL0, 0xca),
            (at::SCNTL1, 0x00),
            (at::SCNTL3, if wide { 7 } else { 3 }),
            (at::SXFER, 0),
            (at::DIEN, 0xff),
            (at::SIEN0, !0x70),
            (at::SIEN1, !0x03),
            (at::STEST2, 0),
            (0x4f, 0x80),
            (at::STIME0, 0x0b),
            (at::SCID, 0x47),
            (at::RESPID, 0x80),
            (at::DCNTL, 0x01),
        ] {
            rig.w8(register, value);
        }
        if wide {
            rig.w8(at::STEST1, 0x08);
            assert_eq!(rig.r8(at::STEST4) & 0x20, 0x20);
            rig.w8(0x4f, 0xa0);
            rig.w8(at::STEST1, 0x0c);
            rig.w8(0x4f, 0x80);
            rig.w8(at::CTEST5, 0x20);
        }
        let program = program();
        program.load(&rig);
        let free = rig.peek32(program.address("slot") + 4);
        rig.poke32(FREE, &[free]);
        rig.w32(at::DSP, program.address("start"));
        rig.run();
        assert_eq!(rig.interrupts(), (0, 0, 0));
        Self {
            rig,
            program,
            active: 0,
            residue: 0,
            events: Vec::new(),
        }
    }

    /// Fills in command `n` for target `id`.
    fn table(&mut self, n: u32, id: u8, messages: &[u8], cdb: &[u8], data: &[(u32, u32)]) -> u32 {
        let rig = &self.rig;
        let table = TABLE + SIZE * n;
        let scntl3 = u32::from(if rig.lsi.model == Lsi53c895a { 7_u8 } else { 3 });
        rig.poke32(table + t::ID, &[scntl3 << 24 | u32::from(id) << 16, 0]);
        for (entry, count, address) in [
            (t::MESSAGE_OUT, length(messages), table + t::OUT),
            (t::MESSAGE_IN, 1, table + t::IN),
            (t::EXTENDED, 2, table + t::IN + 1),
            (t::EXTENDED_DATA, 0, table + t::IN + 3),
            (t::COMMAND, length(cdb), table + t::CDB),
            (t::STATUS, 1, table + t::STATUS_BYTE),
        ] {
            rig.poke32(table + entry, &[count, address]);
        }
        for (entry, &(address, count)) in (0..).zip(data) {
            rig.poke32(table + t::DATA + 8 * entry, &[count, address]);
        }
        rig.poke(table + t::OUT, messages);
        rig.poke(table + t::CDB, cdb);
        rig.poke(table + t::STATUS_BYTE, &[0xff]);
        table
    }

    /// Puts a command into the slot, and tells the scheduler.
    fn issue(&mut self, table: u32) {
        for (byte, name) in table
            .to_le_bytes()
            .iter()
            .zip(["dsa0", "dsa1", "dsa2", "dsa3"])
        {
            let instruction = self.program.address(name);
            self.rig.poke(instruction + 1, &[*byte]);
        }
        let slot = self.program.address("slot");
        self.rig.poke32(slot + 4, &[0]);
        self.active = table;
        self.rig.w8(at::ISTAT0, 0x20);
        self.rig.run();
    }

    /// The slot's jump as SCRIPTS left it.
    fn slot_is_free(&self) -> bool {
        let slot = self.program.address("slot");
        self.rig.peek32(slot + 4) == self.rig.peek32(FREE)
    }

    fn call(&mut self, name: &'static str) {
        let address = self.program.address(name);
        self.rig.w32(at::DSP, address);
        self.rig.run();
    }

    /// Issues a command and serves its interrupts to its end.
    fn command(&mut self, table: u32) -> End {
        self.issue(table);
        self.serve().expect("the command ends")
    }

    /// Serves interrupts until a command has ended, or nothing is left to serve.
    fn serve(&mut self) -> Option<End> {
        for _ in 0..100 {
            let istat = self.rig.r8(at::ISTAT0);
            if istat & (SIP | DIP) == 0 {
                return None;
            }
            let dstat = if istat & DIP != 0 {
                self.rig.r8(at::DSTAT)
            } else {
                0
            };
            assert_eq!(dstat & 0x71, 0, "DSTAT {dstat:#x}");
            if istat & SIP != 0 {
                let sist = self.rig.read(at::SIST0, Width::Word);
                if sist & 0x0400 != 0 {
                    self.rig.w32(at::DSP, self.program.address("reselect"));
                    self.rig.run();
                    return Some(End::SelectionTimeOut);
                }
                assert_eq!(sist & !0x0010, 0x80, "only a phase mismatch is expected");
                self.phase_mismatch();
                continue;
            }
            if let Some(end) = self.script_interrupt() {
                return Some(end);
            }
        }
        panic!("interrupts without end: {:?}", self.events);
    }

    fn script_interrupt(&mut self) -> Option<End> {
        let table = self.active;
        match self.rig.r32(at::DSPS) {
            DONE => {
                let [status] = self.rig.peek(table + t::STATUS_BYTE, 1)[..] else {
                    unreachable!();
                };
                self.call("start");
                return Some(End::Status(status));
            }
            MESSAGE => {
                let message = self.rig.r8(at::SFBR);
                assert_eq!(self.rig.peek(table + t::IN, 1), [message]);
                assert_eq!(message, 0x07, "an unexpected message");
                self.events.push("rejected");
                self.call("acknowledge");
            }
            EXTENDED => {
                let rest = u32::from(self.rig.peek(table + t::IN + 1, 1)[0]) - 1;
                self.rig.poke32(table + t::EXTENDED_DATA, &[rest]);
                self.call("rest of extended");
            }
            EXTENDED_DATA => self.negotiation(),
            RESELECT => {
                let [id, lun, tag, _] = self.rig.r32(at::SCRATCHA).to_le_bytes();
                assert_eq!((id & 0x8f, lun), (0x80, 0));
                // The command's tag is the number of its table.
                let table = TABLE + SIZE * u32::from(if tag == 0xff { 0 } else { tag });
                self.active = table;
                self.rig.w32(at::DSA, table);
                self.rig.w8(at::SCRATCHA, 0);
                self.rig.w8(at::SCRATCHA + 1, 0);
                self.events.push("reselected");
                self.call("acknowledge");
            }
            DISCONNECT => {
                self.events.push("disconnected with data moved");
                self.save_pointers();
                self.call("start");
            }
            number => panic!("INT {number:#x}, {:?}", self.events),
        }
        None
    }

    /// The target has answered; the registers take what was agreed on.
    fn negotiation(&mut self) {
        let table = self.active;
        let message = self.rig.peek(table + t::IN, 5);
        let [_, sxfer, id, scntl3] = self.rig.peek32(table + t::ID).to_le_bytes();
        let (sxfer, scntl3) = match message[..] {
            [1, 2, 3, width, _] => {
                self.events.push(if width == 1 { "wide" } else { "narrow" });
                (sxfer, scntl3 | width << 3)
            }
            [1, 3, 1, period, offset] => {
                self.events.push("SDTR");
                assert_eq!((period, offset), (25, 8));
                (offset, scntl3 | 0x30)
            }
            _ => panic!("{message:x?}"),
        };
        let word = u32::from_le_bytes([0, sxfer, id, scntl3]);
        self.rig.poke32(table + t::ID, &[word]);
        self.rig.w8(at::SCNTL3, scntl3);
        self.rig.w8(at::SXFER, sxfer);
        if message[2] == 3 {
            // Wide transfers make it asynchronous again.
            let synchronous = [1, 3, 1, 25, 8];
            self.rig.poke(table + t::OUT, &synchronous);
            self.rig.poke32(table + t::MESSAGE_OUT, &[5]);
            self.call("send");
        } else {
            self.call("acknowledge");
        }
    }

    /// The entry in work was cut short: what is left of it is counted, from DBC and from the FIFOs if the data went out.
    fn phase_mismatch(&mut self) {
        let rig = &mut self.rig;
        let phase = Phase::from_bits(rig.r8(at::SSTAT1));
        let [low, middle, high, command] = rig.r32(at::DBC).to_le_bytes();
        let mut residue = u32::from_le_bytes([low, middle, high, 0]);
        if Phase::from_bits(command) == DataOut {
            let ctest5 = rig.r8(at::CTEST5);
            let (counter, mask) = if ctest5 & 0x20 != 0 {
                (
                    u32::from(ctest5 & 3) << 8 | u32::from(rig.r8(at::DFIFO)),
                    0x3ff,
                )
            } else {
                (u32::from(rig.r8(at::DFIFO)), 0x7f)
            };
            residue += counter.wrapping_sub(residue) & mask;
            let latches = rig.r8(at::SSTAT0) & 0x60;
            residue += latches.count_ones();
            residue += (rig.r8(at::SSTAT2) & 0x60).count_ones();
        }
        rig.w8(0x1b, 0x04);
        assert_eq!(rig.r8(0x1b) & 0x04, 0, "CLF clears itself");
        rig.w8(0x4f, 0x82);
        rig.w8(0x4f, 0x80);
        self.residue = residue;
        self.events.push("cut short");
        let flags = rig.r8(at::SCRATCHA);
        assert_eq!(flags & IN_DATA, IN_DATA);
        rig.w8(at::SCRATCHA, flags & !IN_DATA);
        rig.w32(at::DSA, self.active);
        self.call(match phase {
            Status => "status",
            MessageIn => "message in",
            other => panic!("{other}"),
        });
    }

    /// The entries that are done go, and of the one in work what has moved.
    fn save_pointers(&mut self) {
        let done = u32::from(self.rig.r8(at::SCRATCHA + 1));
        let first = self.active + t::DATA;
        let rest = self.rig.peek(first + 8 * done, 8 * 4);
        self.rig.poke(first, &rest);
        if self.residue > 0 {
            let entry = self.rig.peek32(first);
            let address = self.rig.peek32(first + 4);
            let moved = entry - self.residue;
            self.rig.poke32(first, &[self.residue, address + moved]);
            self.residue = 0;
        }
    }

    /// The unit attentions of power-on and reset.
    fn settle(&mut self) {
        for _ in 0..3 {
            let table = self.table(0, 0, &[0x80], &[0; 6], &[]);
            if self.command(table) == End::Status(0) {
                return;
            }
        }
        panic!("the unit does not settle");
    }
}

fn driver(model: Model) -> Driver {
    Driver::start(model, Backend::memory(image(), false))
}

fn delayed(model: Model) -> (Driver, DelayHandle) {
    let memory = Backend::memory(image(), false);
    let (backend, handle) = Backend::delay(memory, Hold::UntilReleased).expect("delay");
    (Driver::start(model, backend), handle)
}

#[test]
fn commands_with_all_kinds_of_ends() {
    for model in BOTH {
        let mut driver = driver(model);
        // Nobody there.
        let table = driver.table(1, 5, &[0xc0], &[0; 6], &[]);
        assert_eq!(driver.command(table), End::SelectionTimeOut);
        // CHECK CONDITION, and its sense data: a unit attention.
        let table = driver.table(0, 0, &[0x80], &[0; 6], &[]);
        assert_eq!(driver.command(table), End::Status(2));
        assert!(driver.slot_is_free());
        let table = driver.table(0, 0, &[0x80], &[3, 0, 0, 0, 18, 0], &[(DATA, 18)]);
        assert_eq!(driver.command(table), End::Status(0));
        assert_eq!(driver.rig.peek(DATA + 2, 1)[0] & 0x0f, 6);
        driver.settle();
        // Commands that only a vendor knows.
        for operation in [0xc0, 0xe7, 0xff] {
            let table = driver.table(0, 0, &[0x80], &[operation; 10], &[(DATA, 64)]);
            assert_eq!(driver.command(table), End::Status(2), "{operation:#x}");
            let table = driver.table(0, 0, &[0x80], &[3, 0, 0, 0, 18, 0], &[(DATA, 18)]);
            assert_eq!(driver.command(table), End::Status(0));
            let sense = driver.rig.peek(DATA, 14);
            assert_eq!((sense[2], sense[12], sense[13]), (5, 0x20, 0));
        }
        // A message that nobody knows is rejected, and the command goes on.
        driver.events.clear();
        let table = driver.table(0, 0, &[0x80, 0x13], &[0; 6], &[]);
        assert_eq!(driver.command(table), End::Status(0));
        assert_eq!(driver.events, ["rejected"]);
    }
}

#[test]
fn transfers_are_negotiated_with_the_first_command() {
    for model in BOTH {
        let mut driver = driver(model);
        driver.settle();
        let wide = model == Lsi53c895a;
        let message: &[u8] = if wide {
            &[0xc0, 1, 2, 3, 1]
        } else {
            &[0xc0, 1, 3, 1, 25, 8]
        };
        let table = driver.table(0, 0, message, &read10(9, 1), &[(DATA, 512)]);
        assert_eq!(driver.command(table), End::Status(0));
        let expected: &[&str] = if wide { &["wide", "SDTR"] } else { &["SDTR"] };
        assert_eq!(driver.events, expected);
        assert_eq!(driver.rig.r8(at::SCNTL3), if wide { 0x3f } else { 0x33 });
        assert_eq!(driver.rig.r8(at::SXFER), 8);
        assert_eq!(driver.rig.peek(DATA, 512), image()[9 * 512..10 * 512]);
        // The target's refusal of wide transfers on a narrow bus.
        if !wide {
            let table = driver.table(0, 0, &[0xc0, 1, 2, 3, 1], &[0; 6], &[]);
            assert_eq!(driver.command(table), End::Status(0));
            assert_eq!(driver.events[1..], ["narrow", "SDTR"]);
        }
    }
}

#[test]
fn scattered_data_and_what_is_left_of_it() {
    for model in BOTH {
        let mut driver = driver(model);
        driver.settle();
        let pieces = [(DATA, 1000), (DATA + 0x1000, 24), (DATA + 0x2000, 512)];
        let table = driver.table(0, 0, &[0x80], &read10(4, 3), &pieces);
        assert_eq!(driver.command(table), End::Status(0));
        let expected = image();
        let mut from = 4 * 512;
        for (address, count) in pieces {
            let count = count as usize;
            assert_eq!(
                driver.rig.peek(address, count),
                expected[from..from + count]
            );
            from += count;
        }
        assert_eq!(driver.events, [""; 0]);
        // The target has less than there is room for, and wants less than there is.
        let table = driver.table(0, 0, &[0x80], &read10(4, 1), &[(DATA, 768)]);
        assert_eq!(driver.command(table), End::Status(0));
        assert_eq!(
            (driver.events.pop(), driver.residue),
            (Some("cut short"), 256)
        );
        let bytes: Vec<u8> = (0..1024_u32).map(|n| (n * 3).to_le_bytes()[0]).collect();
        driver.rig.poke(DATA, &bytes);
        let pieces = [(DATA, 500), (DATA + 500, 524)];
        let table = driver.table(0, 0, &[0x80], &write10(20, 1), &pieces);
        assert_eq!(driver.command(table), End::Status(0));
        assert_eq!(
            (driver.events.pop(), driver.residue),
            (Some("cut short"), 512)
        );
        let table = driver.table(0, 0, &[0x80], &read10(20, 1), &[(DATA + 0x4000, 512)]);
        assert_eq!(driver.command(table), End::Status(0));
        assert_eq!(driver.rig.peek(DATA + 0x4000, 512), bytes[..512]);
    }
}

/// Two tagged reads disconnect; they come back in the order of their data.
#[test]
fn commands_disconnect_and_come_back() {
    for model in BOTH {
        let (mut driver, handle) = delayed(model);
        driver.settle();
        for n in 1..=2_u8 {
            let room = DATA + 0x1000 * u32::from(n);
            let cdb = read10(u32::from(n), 1);
            let table = driver.table(n.into(), 0, &[0xc0, 0x20, n], &cdb, &[(room, 512)]);
            driver.issue(table);
            assert_eq!(driver.serve(), None, "{:?}", driver.events);
            assert!(driver.slot_is_free());
        }
        assert_eq!(driver.events, ["disconnected with data moved"; 2]);
        for n in 1..=2_usize {
            handle.release(1);
            driver.rig.run();
            assert_eq!(driver.serve(), Some(End::Status(0)));
            let room = DATA + 0x1000 * u32::try_from(n).expect("small");
            assert_eq!(driver.rig.peek(room, 512), image()[512 * n..512 * (n + 1)]);
        }
        assert_eq!(driver.events[2..], ["reselected"; 2], "{model:?}");
    }
}
