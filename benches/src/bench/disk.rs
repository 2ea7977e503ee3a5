//! A guest's disk: 4 KiB random reads over each front, in turn, counted and timed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use outrigger_vmm::{OtherVcpus, Report as Run, Request, VcpuKind, Workload, kvm_unavailable};

use super::system_calls::Counter;
use crate::front::{Attached, Cost, Front, Pinning, Source};
use crate::reads::{self, Sample};

/// Queue depths.
pub(crate) const DEPTHS: [u32; 4] = [1, 4, 16, 64];
/// The queue depth at which devices are added.
const DEVICES_DEPTH: u32 = 16;
/// Bytes of the disk.
const DISK_BYTES: u64 = 64 << 20;
/// SCSI ID of the disk.
const DISK: u8 = 0;
/// Requests of one run. Each starts a new virtual machine.
const REQUESTS: u32 = 1000;
/// Runs of a cell in one round, unless it takes too long.
const RUNS: usize = 4;
/// After this time in a cell no further run of the round begins.
const ENOUGH: Duration = Duration::from_millis(600);
/// Requests of the run whose system calls are counted.
const COUNTED: u32 = 20_000;

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

/// Guests of one kind: what one table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Setting {
    pub(crate) backend: Backend,
    /// vCPUs that are threads of the host, where nothing slows the driver down: the device is as busy as it gets.
    pub(crate) software: bool,
}

impl Setting {
    /// The vCPUs' kind, as in the reports.
    pub(crate) fn vcpu(self) -> VcpuKind {
        if self.software {
            VcpuKind::Software
        } else {
            VcpuKind::Kvm
        }
    }

    /// How many vCPUs the guests have, in turn.
    fn vcpus(self) -> &'static [u32] {
        // Where the bytes are does not change how vCPUs share a chip.
        match self.backend {
            Backend::Memory if !self.software => &[1, 2, 4],
            _ => &[1],
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} vCPU", self.backend, self.vcpu())
    }
}

/// One line of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Cell {
    pub(crate) setting: Setting,
    /// Guests that run at once, each with a device (over a socket or a ring: and a process) of its own.
    pub(crate) devices: u32,
    /// vCPUs of each.
    pub(crate) vcpus: u32,
    pub(crate) depth: u32,
    pub(crate) front: Front,
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) cells: BTreeMap<Cell, Sample>,
    /// The emulator's system calls per request: ring, memory, one vCPU.
    pub(crate) system_calls: BTreeMap<(Setting, u32), f64>,
    /// Who counted them; `None`: nobody could.
    pub(crate) counter: Option<Counter>,
    /// What is missing, and why.
    pub(crate) missing: Vec<String>,
}

impl Found {
    /// IOPS over those in the VMM's own process.
    pub(crate) fn over_in_process(&self, cell: Cell) -> Option<f64> {
        let in_process = Cell {
            front: Front::InProcess,
            ..cell
        };
        Some(self.cells.get(&cell)?.over(self.cells.get(&in_process)?))
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
    let memory = |software| Setting {
        backend: Backend::Memory,
        software,
    };
    let file = |backend| Setting {
        backend,
        software: false,
    };
    let settings = [
        memory(false),
        memory(true),
        file(Backend::Cached),
        file(Backend::Direct),
    ];
    for setting in settings {
        if !setting.software
            && let Some(reason) = kvm_unavailable()
        {
            found.missing.push(format!("{setting}: {reason}"));
            continue;
        }
        let mut guests = match Guests::attach(setting, &image) {
            Ok(guests) => guests,
            // A file system may know no O_DIRECT.
            Err(error) if setting.backend == Backend::Direct => {
                found.missing.push(format!("{setting}: {error:#}"));
                continue;
            }
            Err(error) => return Err(error),
        };
        for round in 1..=rounds {
            say(&format!("disk, {setting}, round {round} of {rounds}"));
            guests.round(&mut found)?;
        }
        guests.count_system_calls(&mut found)?;
        guests.detach()?;
    }
    Ok(found)
}

/// The guests of one setting.
#[derive(Debug)]
struct Guests {
    setting: Setting,
    image: PathBuf,
    /// One over each front.
    alone: Vec<Attached>,
}

impl Guests {
    fn attach(setting: Setting, image: &Path) -> Result<Self> {
        let alone = Front::ALL.map(|front| attach(setting, front, Pinning::Apart, image));
        Ok(Self {
            setting,
            image: image.to_owned(),
            alone: alone.into_iter().collect::<Result<_>>()?,
        })
    }

    /// Every cell once.
    fn round(&mut self, found: &mut Found) -> Result<()> {
        for &vcpus in self.setting.vcpus() {
            for depth in DEPTHS {
                for guest in &mut self.alone {
                    let cell = Cell {
                        setting: self.setting,
                        devices: 1,
                        vcpus,
                        depth,
                        front: guest.front,
                    };
                    let runs = read(guest, vcpus, depth)?;
                    found
                        .cells
                        .entry(cell)
                        .or_default()
                        .add(cell.front, &[runs]);
                }
            }
        }
        if self.setting.backend == Backend::Memory {
            for front in Front::ALL {
                for devices in [2, 4] {
                    self.together(front, devices, found)?;
                }
            }
        }
        Ok(())
    }

    /// Several guests at once, each with a device of its own.
    fn together(&self, front: Front, devices: u32, found: &mut Found) -> Result<()> {
        let guests = (0..devices).map(|_| attach(self.setting, front, Pinning::None, &self.image));
        let mut guests = guests.collect::<Result<Vec<_>>>()?;
        let runs = std::thread::scope(|scope| {
            let threads: Vec<_> = guests
                .iter_mut()
                .map(|guest| scope.spawn(|| read(guest, 1, DEVICES_DEPTH)))
                .collect();
            let join = |thread: ScopedJoinHandle<'_, Result<_>>| {
                let joined = thread.join();
                joined.unwrap_or_else(|_| Err(anyhow!("a guest's thread panicked")))
            };
            threads.into_iter().map(join).collect::<Result<Vec<_>>>()
        })?;
        let cell = Cell {
            setting: self.setting,
            devices,
            vcpus: 1,
            depth: DEVICES_DEPTH,
            front,
        };
        found.cells.entry(cell).or_default().add(front, &runs);
        guests.into_iter().try_for_each(|guest| {
            guest.detach()?;
            Ok(())
        })
    }

    fn count_system_calls(&mut self, found: &mut Found) -> Result<()> {
        let (Some(counter), Backend::Memory) = (found.counter, self.setting.backend) else {
            return Ok(());
        };
        for guest in &mut self.alone {
            let (Front::Ring, Some(pid)) = (guest.front, guest.emulator()) else {
                continue;
            };
            for depth in [1, 16] {
                let requests = reads::random(DISK, DISK_BYTES, COUNTED, depth.into());
                let workload = Workload::new(requests, depth);
                let (count, (run, _)) = counter.during(pid, || guest.run(&workload))?;
                #[expect(clippy::cast_precision_loss, reason = "counts of a short run")]
                let per_io = count as f64 / run.statuses.len() as f64;
                found.system_calls.insert((self.setting, depth), per_io);
            }
        }
        Ok(())
    }

    fn detach(self) -> Result<()> {
        for guest in self.alone {
            guest.detach()?;
        }
        Ok(())
    }
}

/// A guest whose disk is ready.
fn attach(setting: Setting, front: Front, pinning: Pinning, image: &Path) -> Result<Attached> {
    let disk = match setting.backend {
        Backend::Memory => Source::Memory { bytes: DISK_BYTES },
        Backend::Cached => Source::file(image, true),
        Backend::Direct => Source::File {
            path: image.to_owned(),
            read_only: true,
            direct: true,
        },
    };
    let mut guest = Attached::new(front, setting.vcpu(), pinning, &[disk])
        .with_context(|| format!("cannot attach over {front}"))?;
    // The first command is refused with the unit attention after power-on.
    let first = vec![Request::test_unit_ready(DISK)];
    guest.machine.run(&Workload::new(first, 1))?;
    Ok(guest)
}

/// A round's runs, at the same places over all fronts.
fn read(guest: &mut Attached, vcpus: u32, depth: u32) -> Result<Vec<(Run, Cost)>> {
    let requests = reads::random(DISK, DISK_BYTES, REQUESTS, depth.into());
    let mut workload = Workload::new(requests, depth);
    if vcpus > 1 {
        workload = workload.with_others(OtherVcpus::Submit(vcpus - 1));
    }
    let begin = Instant::now();
    let mut runs = Vec::new();
    while runs.is_empty() || (runs.len() < RUNS && begin.elapsed() < ENOUGH) {
        runs.push(guest.run(&workload)?);
    }
    Ok(runs)
}
