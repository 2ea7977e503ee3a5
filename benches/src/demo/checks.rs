//! What has to hold, whatever it costs: the bytes that arrive by DMA are the disk's.

use std::ops::Range;

use anyhow::{Context as _, Result, bail};
use outrigger_vmm::guest::layout::BUFFERS;
use outrigger_vmm::{OtherVcpus, Ram, Request, Workload};
use sha2::{Digest as _, Sha256};

use super::{DISK, SCRATCH};
use crate::front::Attached;
use crate::image::{Image, fill};
use crate::narrator::Narrator;
use crate::report::Report;

/// Bytes per request of the sequential read.
const CHUNK: u32 = 256 << 10;
/// Buffers in guest RAM that the sequential read goes round.
const BUFFER_COUNT: u32 = 16;
const SECTOR: u32 = 512;

/// Takes the unit attentions that the disks report after power-on; from then on they are ready.
pub(super) fn ready(guest: &mut Attached, narrator: &Narrator, report: &mut Report) -> Result<()> {
    let ask = Workload::new([DISK, SCRATCH].map(Request::test_unit_ready).to_vec(), 1);
    // The first command of each is refused with the unit attention.
    guest.machine.run(&ask)?;
    let run = guest.machine.run(&ask)?;
    let name = format!("{}: the driver finds both disks ready", guest.front);
    narrator.checked(report, name, run.is_good());
    guest.expect_good(&run)
}

/// Reads the whole disk and compares what arrived with the file's checksum.
pub(super) fn whole_disk(
    guest: &mut Attached,
    image: &Image,
    narrator: &Narrator,
    report: &mut Report,
) -> Result<()> {
    let requests = sequential(image.bytes)?;
    let progress = narrator.progress(
        &format!("{}: reading the disk", guest.front),
        image.bytes,
        "{msg} [{wide_bar}] {bytes}/{total_bytes} {bytes_per_sec} {eta}",
    );
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK as usize];
    let mut failed = None;
    let lengths: Vec<u32> = requests.iter().map(|request| request.length).collect();
    let workload = Workload::new(requests, 4).with_window(BUFFER_COUNT);
    let run = guest
        .machine
        .run_observed(&workload, &mut |ram: &Ram, done: Range<u32>| {
            for index in done {
                let length = lengths.get(index as usize).copied().unwrap_or(0);
                let bytes = &mut buffer[..length as usize];
                match ram.read(buffer_address(index).into(), bytes) {
                    Ok(()) => hasher.update(bytes),
                    Err(error) => failed = Some(error),
                }
                progress.inc(length.into());
            }
        })?;
    progress.finish_and_clear();
    if let Some(error) = failed {
        return Err(error).context("cannot read the guest's RAM");
    }
    guest.expect_good(&run)?;
    let equal = <[u8; 32]>::from(hasher.finalize()) == image.sha256;
    narrator.checked(
        report,
        format!(
            "{}: sha256 of what arrived by DMA equals the file's",
            guest.front
        ),
        equal,
    );
    Ok(())
}

fn sequential(bytes: u64) -> Result<Vec<Request>> {
    let mut requests = Vec::new();
    let mut at = 0;
    while at < bytes {
        let length = u32::try_from((bytes - at).min(u64::from(CHUNK)))?;
        let Ok(lba) = u32::try_from(at / u64::from(SECTOR)) else {
            bail!("the disk is larger than 2 TiB: this guest's READ (10) cannot reach its end");
        };
        let address = buffer_address(u32::try_from(requests.len())?);
        requests.push(Request::read(
            DISK,
            lba,
            u16::try_from(length / SECTOR)?,
            address,
        ));
        at += u64::from(length);
    }
    Ok(requests)
}

fn buffer_address(index: u32) -> u32 {
    BUFFERS + index % BUFFER_COUNT * CHUNK
}

/// Writes the scratch disk, flushes, reads it again, and compares.
pub(super) fn scratch(
    guest: &mut Attached,
    bytes: u64,
    narrator: &Narrator,
    report: &mut Report,
) -> Result<()> {
    const PIECE: u32 = 64 << 10;
    let pieces = u32::try_from(bytes / u64::from(PIECE))?.min(64);
    let blocks = u16::try_from(PIECE / SECTOR)?;
    let mut written = vec![0; PIECE as usize * pieces as usize];
    fill(u64::from(pieces) + 1 + guest.front as u64, &mut written);
    guest.machine.ram().write(BUFFERS.into(), &written)?;
    let back = BUFFERS + pieces * PIECE;
    guest
        .machine
        .ram()
        .write(back.into(), &vec![0; written.len()])?;

    let each = |make: &dyn Fn(u32) -> Request| (0..pieces).map(make).collect::<Vec<_>>();
    let lba = |piece: u32| piece * (PIECE / SECTOR);
    let mut writes =
        each(&|piece| Request::write(SCRATCH, lba(piece), blocks, BUFFERS + piece * PIECE));
    writes.push(Request::synchronize_cache(SCRATCH));
    let reads = each(&|piece| Request::read(SCRATCH, lba(piece), blocks, back + piece * PIECE));
    for (requests, depth) in [(writes, 8), (reads, 8)] {
        let run = guest.machine.run(&Workload::new(requests, depth))?;
        guest.expect_good(&run)?;
    }
    let mut read = vec![0; written.len()];
    guest.machine.ram().read(back.into(), &mut read)?;
    narrator.checked(
        report,
        format!(
            "{}: what was written, flushed and read again is the same",
            guest.front
        ),
        read == written,
    );
    Ok(())
}

/// A second vCPU submits through its own port while the first takes the interrupts.
pub(super) fn two_vcpus(
    guest: &mut Attached,
    narrator: &Narrator,
    report: &mut Report,
) -> Result<()> {
    let requests = (0..256)
        .map(|index| Request::read(DISK, index % 8 * 8, 8, BUFFERS + index % 16 * 4096))
        .collect();
    let run = guest
        .machine
        .run(&Workload::new(requests, 8).with_others(OtherVcpus::Submit(1)))?;
    let interrupts: u64 = run.vcpus.iter().map(|vcpu| vcpu.interrupts).sum();
    let held = run.is_good() && interrupts > 0;
    narrator.checked(
        report,
        format!(
            "{}: two vCPUs on two ports, interrupts delivered",
            guest.front
        ),
        held,
    );
    guest.expect_good(&run)
}
