//! Host instructions of the device's and the ring's own work, counted by valgrind through gungraun: they do not depend on
//! the machine's mood.
#![expect(missing_docs, reason = "what gungraun's macros make")]

use std::hint::black_box;
use std::io::Write as _;
use std::process::{Command, Stdio};

use gungraun::{library_benchmark, library_benchmark_group};
use outrigger_benches::bench::BothEnds;
use outrigger_benches::cdbs;
use outrigger_benches::chip::{Chip, Queue};

/// What `--bench counts` is made of; what a function returns is dropped after the count.
mod count {
    use gungraun::{Callgrind, LibraryBenchmarkConfig, main};

    use super::{device, ring};

    /// The C library copies as any x86-64 CPU can. What it would choose for this one changes the counts by some percent.
    const PLAIN: &str =
        "glibc.cpu.hwcaps=-AVX2,-AVX512F,-AVX512VL,-AVX_Fast_Unaligned_Load,-ERMS,-FSRM";

    main!(
        config = LibraryBenchmarkConfig::default()
            .env("GLIBC_TUNABLES", PLAIN)
            .tool(Callgrind::with_args(["--cache-sim=no"])),
        library_benchmark_groups = [device, ring]
    );

    pub(super) fn run() {
        main();
    }
}

library_benchmark_group!(
    name = device,
    benchmarks = [scripts_1024, parse, command, queued_reads]
);
library_benchmark_group!(name = ring, benchmarks = [mirrored_read, post, take]);

fn main() {
    // Cargo says --bench, valgrind does not.
    if std::env::args().any(|argument| argument == "--bench") {
        let runner = option_env!("GUNGRAUN_RUNNER").unwrap_or("gungraun-runner");
        for (tool, program) in [("valgrind", "valgrind"), ("gungraun-runner", runner)] {
            if !works(program) {
                // Where it cannot be printed there is nobody to tell.
                let _ = writeln!(
                    std::io::stderr(),
                    "instructions are not counted: no {tool} ({program}); `make bench-deps` installs valgrind, `make runner` the other"
                );
                return;
            }
        }
    }
    count::run();
}

fn works(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn scripts_chip() -> Box<Chip> {
    let mut chip = Chip::new().expect("a chip");
    chip.prepare_scripts().expect("a script");
    chip.scripts().expect("the script ends");
    Box::new(chip)
}

#[library_benchmark(setup = scripts_chip)]
fn scripts_1024(mut chip: Box<Chip>) -> Box<Chip> {
    chip.scripts().expect("the script ends");
    chip
}

#[library_benchmark]
#[bench::test_unit_ready(cdbs::TEST_UNIT_READY)]
#[bench::inquiry(cdbs::INQUIRY)]
#[bench::mode_sense_6(cdbs::MODE_SENSE_6)]
#[bench::read_10(cdbs::READ_10)]
#[bench::write_10(cdbs::WRITE_10)]
#[bench::synchronize_cache_10(cdbs::SYNCHRONIZE_CACHE_10)]
#[bench::write_16(cdbs::WRITE_16)]
#[bench::read_capacity_16(cdbs::READ_CAPACITY_16)]
fn parse(cdb: &[u8]) {
    let _ = cdbs::parse(cdb);
}

/// A chip that has done it once.
fn command_chip(prepare: fn(&mut Chip) -> anyhow::Result<()>) -> Box<Chip> {
    let mut chip = Chip::new().expect("a chip");
    prepare(&mut chip).expect("a command");
    chip.command().expect("GOOD");
    Box::new(chip)
}

#[library_benchmark(setup = command_chip)]
#[bench::test_unit_ready(Chip::prepare_test_unit_ready)]
#[bench::read_10_of_4_kib(Chip::prepare_read)]
fn command(mut chip: Box<Chip>) -> Box<Chip> {
    chip.command().expect("GOOD");
    chip
}

/// A queue that has done it once.
fn queue() -> Box<Queue> {
    let mut queue = Queue::new().expect("a queue");
    queue.run().expect("GOOD");
    Box::new(queue)
}

#[library_benchmark]
#[bench::sixteen(queue())]
fn queued_reads(mut queue: Box<Queue>) -> Box<Queue> {
    queue.run().expect("GOOD");
    queue
}

fn session() -> Box<BothEnds> {
    Box::new(BothEnds::new().expect("a session"))
}

#[library_benchmark(setup = session)]
fn mirrored_read(mut session: Box<BothEnds>) -> Box<BothEnds> {
    black_box(session.mirrored().expect("a value"));
    session
}

/// A session, and how many writes will be posted.
fn session_for(writes: usize) -> (Box<BothEnds>, usize) {
    (session(), writes)
}

#[library_benchmark(setup = session_for)]
#[bench::one(1)]
#[bench::sixteen(16)]
fn post((mut session, writes): (Box<BothEnds>, usize)) -> Box<BothEnds> {
    session.post(writes, 2).expect("there is room");
    session
}

/// A session that holds so many posted writes.
fn session_with(writes: usize) -> Box<BothEnds> {
    let mut session = session();
    session.post(writes, 2).expect("there is room");
    session
}

#[library_benchmark(setup = session_with)]
#[bench::one(1)]
#[bench::sixteen(16)]
fn take(mut session: Box<BothEnds>) -> Box<BothEnds> {
    session.take().expect("what was posted");
    session
}
