//! What the host puts into guest RAM before a run.

use crate::error::VmmError;
use crate::guest::layout::{
    CONTROL, DONE_QUEUE, GDT, IDT, MAX_REQUESTS, MAX_VCPUS, REQUESTS, SCRIPTS_IMAGE, SEGMENTS,
    SETUP_TABLE, START_QUEUE, TASK_COUNT, control, others, request,
};
use crate::guest::program::GuestProgram;
use crate::guest::registers::{
    CCNTL0, DCNTL, DIEN, DMODE, PMJAD1, PMJAD2, RESPID0, SCID, SCNTL0, SIEN0, SIEN1, STEST3, STIME0,
};
use crate::guest::scripts::Scripts;
use crate::guest::{self, queues};
use crate::ram::Ram;
use crate::workload::{Direction, OtherVcpus, Workload};

/// Where the guest puts the I/O BAR.
pub(super) const BAR_IO: u32 = 0xc000;
/// Where the guest puts the register BAR.
pub(super) const BAR_REGISTERS: u32 = 0xfe00_0000;
/// Where the guest puts the SCRIPTS RAM BAR.
pub(super) const BAR_SCRIPTS: u32 = 0xfe00_2000;

/// The chip's own ID on the SCSI bus.
const HOST_ID: u8 = 7;

/// Selectors of the guest's flat segments.
pub(crate) const CODE_SELECTOR: u16 = 0x08;
pub(crate) const DATA_SELECTOR: u16 = 0x10;
/// Bytes of the global descriptor table.
pub(crate) const GDT_BYTES: u16 = 24;
/// Bytes of the interrupt descriptor table.
pub(crate) const IDT_BYTES: u16 = 256 * 8;

/// The registers that the driver sets before it starts the SCRIPTS.
fn setup(scripts: &Scripts) -> Vec<(u8, u8)> {
    let mut table = vec![
        // Full arbitration, parity checked.
        (SCNTL0, 0xc8),
        // Answers reselection (RRE) as ID 7.
        (SCID, 0x40 | HOST_ID),
        (RESPID0, 1 << HOST_ID),
        // Selection times out after a quarter of a second.
        (STIME0, 0x0c),
        // Phase mismatch, gross error, unexpected disconnect, reset, parity; selection time-out.
        (SIEN0, 0x8f),
        (SIEN1, 0x04),
        // Data parity, bus fault, INT instruction, illegal instruction.
        (DIEN, 0x65),
        // Writing DSP starts.
        (DMODE, 0x00),
        // Not compatible with the 53C700.
        (DCNTL, 0x01),
        // TolerANT.
        (STEST3, 0x80),
        // A phase mismatch jumps.
        (CCNTL0, 0x80),
    ];
    for first in [PMJAD1, PMJAD2] {
        table.extend((first..).zip(scripts.phase_mismatch.to_le_bytes()));
    }
    table
}

/// A word of RAM before the vCPUs start.
struct Words<'a>(&'a Ram);

impl Words<'_> {
    fn put(&self, address: u32, value: u32) -> Result<(), VmmError> {
        self.0.store(address, value)
    }

    fn clear(&self, address: u32, bytes: u32) -> Result<(), VmmError> {
        self.0.write(
            address.into(),
            &vec![0; usize::try_from(bytes).unwrap_or(0)],
        )
    }
}

/// Puts everything that the guest needs into RAM.
pub(super) fn prepare(
    ram: &Ram,
    workload: &Workload,
    program: &GuestProgram,
    device_id: u32,
) -> Result<Scripts, VmmError> {
    check(ram, workload)?;
    let scripts =
        Scripts::assemble(BAR_SCRIPTS).map_err(|error| VmmError::Workload(error.to_string()))?;
    let words = Words(ram);
    descriptor_tables(ram, program)?;
    ram.write(guest::layout::CODE.into(), program.bytes)?;
    ram.write(SCRIPTS_IMAGE.into(), &scripts.image)?;
    queues::lay_out(ram, &scripts, workload.depth)?;
    requests(ram, workload)?;

    let setup = setup(&scripts);
    for (at, (register, value)) in (SETUP_TABLE..).step_by(4).zip(&setup) {
        words.put(at, u32::from(*register) << 8 | u32::from(*value))?;
    }
    let count = length(workload.requests.len());
    let others = match workload.others {
        OtherVcpus::None => others::NONE,
        OtherVcpus::Submit(_) => others::SUBMIT,
        OtherVcpus::Poll => others::POLL,
    };
    words.clear(CONTROL, control::BYTES)?;
    for (offset, value) in [
        (control::SETUP_COUNT, length(setup.len())),
        (control::SCRIPTS_WORDS, length(scripts.image.len() / 4)),
        (control::BAR_IO, BAR_IO),
        (control::BAR_REGISTERS, BAR_REGISTERS),
        (control::BAR_SCRIPTS, BAR_SCRIPTS),
        (control::DEVICE_ID, device_id),
        (control::ENTRY, scripts.entry),
        (control::START, scripts.start),
        (control::IDLE, scripts.idle),
        (control::DATA_IN_END, scripts.data_in_end),
        (control::DATA_OUT_END, scripts.data_out_end),
        (control::OVERRUN, scripts.overrun),
        (control::SELECTION_FAILED, scripts.selection_failed),
        (control::COUNT, count),
        (control::SEGMENT_SHIFT, workload.segment_shift),
        (control::OTHERS, others),
        (
            control::LIMIT,
            if workload.window == 0 {
                count
            } else {
                workload.window
            },
        ),
        (control::START_POSITION, START_QUEUE),
        (control::DONE_POSITION, DONE_QUEUE),
        (control::FREE_TAIL, workload.depth),
    ] {
        words.put(CONTROL + offset, value)?;
    }
    Ok(scripts)
}

/// A length that [`check`] has found small.
fn length(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// What the guest's program relies on.
fn check(ram: &Ram, workload: &Workload) -> Result<(), VmmError> {
    let refuse = |reason: String| Err(VmmError::Workload(reason));
    if workload.requests.is_empty() || length(workload.requests.len()) > MAX_REQUESTS {
        return refuse(format!(
            "{} requests: between 1 and {MAX_REQUESTS} can be run",
            workload.requests.len()
        ));
    }
    if workload.depth == 0 || workload.depth > TASK_COUNT {
        return refuse(format!(
            "a depth of {}: 1 to {TASK_COUNT} tasks can be under way",
            workload.depth
        ));
    }
    if length(workload.vcpus()) > MAX_VCPUS {
        return refuse(format!(
            "{} vCPUs: there are stacks for {MAX_VCPUS}",
            workload.vcpus()
        ));
    }
    if !(2..=23).contains(&workload.segment_shift) {
        return refuse(format!(
            "segments of 2^{} bytes: 2^2 to 2^23 are possible",
            workload.segment_shift
        ));
    }
    let longest = u64::from(SEGMENTS) << workload.segment_shift;
    for (index, request) in workload.requests.iter().enumerate() {
        let end = u64::from(request.address) + u64::from(request.length);
        let data =
            request.length == 0 || request.address >= guest::layout::BUFFERS && end <= ram.bytes();
        if request.target > 15 || request.lun > 7 || request.cdb_length > 16 {
            return refuse(format!(
                "request {index}: target, LUN or CDB length out of range"
            ));
        }
        if !data || u64::from(request.length) > longest {
            return refuse(format!(
                "request {index}: its data are outside of the buffers or too long"
            ));
        }
    }
    Ok(())
}

/// Flat segments, and gates for exceptions, the device's interrupt and all others.
pub(crate) fn descriptor_tables(ram: &Ram, program: &GuestProgram) -> Result<(), VmmError> {
    let segments: [u64; 3] = [0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff];
    for (at, segment) in (u64::from(GDT)..).step_by(8).zip(segments) {
        ram.write(at, &segment.to_le_bytes())?;
    }
    for vector in 0..256_u32 {
        let handler = guest::layout::CODE
            + match vector {
                0..0x20 => program.exception,
                _ if vector == 0x20 + u32::from(guest::layout::INTERRUPT_LINE) => program.interrupt,
                _ => program.spurious,
            };
        let gate = u64::from(handler & 0xffff)
            | u64::from(CODE_SELECTOR) << 16
            | 0x8e00 << 32
            | u64::from(handler >> 16) << 48;
        ram.write(u64::from(IDT + 8 * vector), &gate.to_le_bytes())?;
    }
    Ok(())
}

fn requests(ram: &Ram, workload: &Workload) -> Result<(), VmmError> {
    for (at, from) in (u64::from(REQUESTS)..).step_by(32).zip(&workload.requests) {
        let mut bytes = [0; 32];
        let direction = u8::from(from.direction == Direction::Out);
        let flags = u32::from_le_bytes([from.target, from.lun, direction, from.cdb_length]);
        bytes[..16].copy_from_slice(&from.cdb);
        bytes[16..20].copy_from_slice(&from.address.to_le_bytes());
        bytes[20..24].copy_from_slice(&from.length.to_le_bytes());
        bytes[24..28].copy_from_slice(&flags.to_le_bytes());
        ram.write(at, &bytes)?;
    }
    const _: () = assert!(request::BYTES == 32 && request::RESULT == 28 && request::FLAGS == 24);
    Ok(())
}
