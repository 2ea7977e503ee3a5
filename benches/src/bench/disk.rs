//! A guest's disk: 4 KiB random reads over each front, in turn, counted and timed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use outrigger_proxy::vmm::guest::layout::BUFFERS;
use outrigger_proxy::vmm::{Request, SecondVcpu, Workload};

use super::clock::median;
use super::system_calls::Counter;
use crate::front::{Attached, Front, Source};

/// Queue depths.
pub(crate) const DEPTHS: [u32; 4] = [1, 4, 16, 64];
/// Bytes of the disk.
const DISK_BYTES: u64 = 64 << 20;
/// SCSI ID of the disk.
const DISK: u8 = 0;
/// Blocks of 512 bytes per request.
const BLOCKS: u16 = 8;
/// Requests per run, by queue depth 1 or more.
const REQUESTS: u64 = 4000;
/// Requests of the run whose system calls are counted.
const COUNTED: u64 = 20_000;

/// After this time on a backend no further round begins.
const ENOUGH: Duration = Duration::from_secs(60);

/// Where the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Backend {
    /// The device's own memory.
    Memory,
    /// A file in the page cache.
    Cached,
    /// A file, past the page cache.
    Direct,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Memory => "memory",
            Self::Cached => "file, cached",
            Self::Direct => "file, O_DIRECT",
        })
    }
}

/// One cell of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) backend: Backend,
    pub(crate) vcpus: u32,
    pub(crate) depth: u32,
    pub(crate) front: Front,
}

/// What was found there, over all rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// One figure per round.
    pub(crate) iops: Vec<f64>,
    requests: u64,
    crossings: u64,
    exits: u64,
    context_switches: u64,
    spin_nanoseconds: u64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of short runs")]
impl Sample {
    pub(crate) fn median_iops(&self) -> f64 {
        median(&mut self.iops.clone())
    }

    /// MB per second at the median.
    pub(crate) fn megabytes(&self) -> f64 {
        self.median_iops() * f64::from(BLOCKS) * 512.0 / 1e6
    }

    fn per_io(&self, count: u64) -> f64 {
        count as f64 / self.requests.max(1) as f64
    }

    pub(crate) fn crossings_per_io(&self) -> f64 {
        self.per_io(self.crossings)
    }

    pub(crate) fn exits_per_io(&self) -> f64 {
        self.per_io(self.exits)
    }

    pub(crate) fn context_switches_per_io(&self) -> f64 {
        self.per_io(self.context_switches)
    }

    /// CPU time that the emulator spent polling with nothing to do, in nanoseconds.
    pub(crate) fn spin_per_io(&self) -> f64 {
        self.per_io(self.spin_nanoseconds)
    }
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) cells: BTreeMap<Cell, Sample>,
    /// The emulator's system calls per request by queue depth: ring, memory, one vCPU.
    pub(crate) system_calls: Vec<(u32, f64)>,
    /// Who counted them; `None`: nobody could.
    pub(crate) counter: Option<Counter>,
    /// Why a backend is missing.
    pub(crate) missing: Vec<String>,
}

impl Found {
    /// The sample of one cell.
    pub(crate) fn sample(
        &self,
        front: Front,
        backend: Backend,
        vcpus: u32,
        depth: u32,
    ) -> Option<&Sample> {
        self.cells.get(&Cell {
            backend,
            vcpus,
            depth,
            front,
        })
    }

    /// IOPS over those in the VMM's own process: the median of the rounds' ratios.
    pub(crate) fn over_in_process(&self, cell: Cell) -> Option<f64> {
        let ours = self.cells.get(&cell)?;
        let theirs = self.sample(Front::InProcess, cell.backend, cell.vcpus, cell.depth)?;
        let ratios = ours.iops.iter().zip(&theirs.iops).map(|(a, b)| a / b);
        Some(median(&mut ratios.collect::<Vec<_>>()))
    }
}

/// Measures each cell once per round, the fronts in turn.
pub(crate) fn measure(rounds: usize, mut say: impl FnMut(&str)) -> Result<Found> {
    // In the target directory, as a file in memory would know no O_DIRECT.
    let directory = tempfile::tempdir_in("target").or_else(|_| tempfile::tempdir())?;
    let image = directory.path().join("disk.img");
    let mut bytes = vec![0; usize::try_from(DISK_BYTES)?];
    crate::image::fill(1, &mut bytes);
    std::fs::write(&image, &bytes)?;
    std::fs::File::open(&image)?.sync_all()?;

    let mut found = Found {
        counter: Counter::find(),
        ..Found::default()
    };
    for backend in [Backend::Memory, Backend::Cached, Backend::Direct] {
        let mut guests = match attach(backend, &image) {
            Ok(guests) => guests,
            // A file system may know no O_DIRECT.
            Err(error) if backend == Backend::Direct => {
                found.missing.push(format!("{backend}: {error:#}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        let begin = Instant::now();
        for round in 1..=rounds {
            if begin.elapsed() > ENOUGH {
                say(&format!(
                    "disk, {backend}: the machine is slow, {} rounds must do",
                    round - 1
                ));
                break;
            }
            say(&format!("disk, {backend}, round {round} of {rounds}"));
            for vcpus in [1, 2] {
                for depth in DEPTHS {
                    for guest in &mut guests {
                        let cell = Cell {
                            backend,
                            vcpus,
                            depth,
                            front: guest.front,
                        };
                        found.cells.entry(cell).or_default().run(guest, cell)?;
                    }
                }
            }
        }
        if backend == Backend::Memory {
            count_system_calls(&mut guests, &mut found)?;
        }
        for guest in guests {
            guest.detach()?;
        }
    }
    Ok(found)
}

fn attach(backend: Backend, image: &Path) -> Result<Vec<Attached>> {
    let disk = match backend {
        Backend::Memory => Source::Memory { bytes: DISK_BYTES },
        Backend::Cached => Source::file(image, true),
        Backend::Direct => Source::File {
            path: image.to_owned(),
            read_only: true,
            direct: true,
        },
    };
    Front::ALL
        .into_iter()
        .map(|front| {
            let disks = std::slice::from_ref(&disk);
            let mut guest = Attached::new(front, disks)
                .with_context(|| format!("cannot attach over {front}"))?;
            // The first command is refused with the unit attention after power-on.
            let first = vec![
                Request::test_unit_ready(DISK),
                Request::request_sense(DISK, BUFFERS),
            ];
            guest.machine.run(&Workload::new(first, 1))?;
            Ok(guest)
        })
        .collect()
}

impl Sample {
    fn run(&mut self, guest: &mut Attached, cell: Cell) -> Result<()> {
        let mut workload = Workload::new(random(REQUESTS, cell.depth), cell.depth);
        if cell.vcpus > 1 {
            workload = workload.with_second(SecondVcpu::Submits);
        }
        let before = guest.counts();
        let run = guest.machine.run(&workload)?;
        guest.expect_good(&run)?;
        let spent = guest.counts().since(before);
        #[expect(clippy::cast_precision_loss, reason = "requests of a short run")]
        self.iops
            .push(run.statuses.len() as f64 / run.working.as_secs_f64());
        self.requests += run.statuses.len() as u64;
        self.crossings += if cell.front == Front::InProcess {
            0
        } else {
            run.costs().crossings
        };
        self.exits += run.exits();
        let vcpus = run.vcpus.iter().map(|vcpu| vcpu.context_switches);
        self.spin_nanoseconds += spent.spin_nanoseconds;
        self.context_switches += spent.context_switches + vcpus.sum::<u64>();
        Ok(())
    }
}

/// Requests at random places, the same for all fronts.
fn random(count: u64, seed: u32) -> Vec<Request> {
    let places = DISK_BYTES / (512 * u64::from(BLOCKS));
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ u64::from(seed);
    (0..count)
        .map(|index| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let lba = u32::try_from(state % places * u64::from(BLOCKS)).unwrap_or(0);
            let buffer = u32::try_from(index % 64).unwrap_or(0);
            Request::read(DISK, lba, BLOCKS, BUFFERS + buffer * 4096)
        })
        .collect()
}

fn count_system_calls(guests: &mut [Attached], found: &mut Found) -> Result<()> {
    let Some(counter) = found.counter else {
        return Ok(());
    };
    for guest in guests {
        let (Front::Ring, Some(pid)) = (guest.front, guest.emulator()) else {
            continue;
        };
        for depth in [1, 16] {
            let workload = Workload::new(random(COUNTED, depth), depth);
            let (count, run) = counter.during(pid, || Ok(guest.machine.run(&workload)?))?;
            guest.expect_good(&run)?;
            #[expect(clippy::cast_precision_loss, reason = "counts of a short run")]
            let per_io = count as f64 / run.statuses.len() as f64;
            found.system_calls.push((depth, per_io));
        }
    }
    Ok(())
}
