//! QEMU's model of the chips as an independent judge of ours: the same programs, the same results, or a known reason.

use outrigger_emulator::lsi::Model;
use outrigger_tests::guest::Kit;
use outrigger_tests::judge::bench::Bench;
use outrigger_tests::judge::units::Disks;
use outrigger_tests::judge::{commands, generate};

/// Programs of each kind and model; `OUTRIGGER_PROGRAMS` asks for more.
const PROGRAMS: u64 = 1000;

fn programs() -> u64 {
    let wanted = std::env::var("OUTRIGGER_PROGRAMS").ok();
    wanted.map_or(PROGRAMS, |count| {
        count.parse().expect("a number of programs")
    })
}

/// The first seed; `OUTRIGGER_SEED` asks for another.
fn first_seed() -> u64 {
    let wanted = std::env::var("OUTRIGGER_SEED").ok();
    wanted.map_or(1, |seed| seed.parse().expect("a number"))
}

/// Findings after which a run ends.
const FINDINGS: usize = 12;

fn judge_programs(model: Model) {
    let kit = Kit::open().expect("QEMU");
    let mut bench = Bench::new(&kit, model).expect("QEMU");
    for seed in first_seed()..first_seed() + programs() {
        bench.judge(generate::program(model, seed)).expect("QEMU");
        if bench.findings.len() >= FINDINGS {
            break;
        }
    }
    println!("{model:?}: {}", bench.tally);
    for finding in &bench.findings {
        println!("{finding}");
    }
    assert!(bench.findings.is_empty(), "the chips differ");
}

#[test]
fn programs_do_the_same_on_both_53c895a() {
    judge_programs(Model::Lsi53c895a);
}

#[test]
fn programs_do_the_same_on_both_53c810() {
    judge_programs(Model::Lsi53c810);
}

#[test]
fn commands_do_the_same_on_both_disks() {
    let kit = Kit::open().expect("QEMU");
    let mut bench = Bench::new(&kit, Model::Lsi53c895a).expect("QEMU");
    for seed in first_seed()..first_seed() + programs() / 4 {
        bench
            .judge_commands(&commands::sequence(seed))
            .expect("QEMU");
        if bench.complaints.len() >= FINDINGS {
            break;
        }
    }
    println!("commands: {}", bench.tally);
    for difference in &bench.complaints {
        println!("{difference}");
    }
    assert!(bench.complaints.is_empty(), "the disks differ");
}

#[test]
fn commands_do_the_same_on_both_drives() {
    let kit = Kit::open().expect("QEMU");
    let mut bench = Bench::with_disks(&kit, Model::Lsi53c895a, Disks::with_drive).expect("QEMU");
    for seed in first_seed()..first_seed() + programs() / 4 {
        bench
            .judge_commands(&commands::drive_sequence(seed))
            .expect("QEMU");
        if bench.complaints.len() >= FINDINGS {
            break;
        }
    }
    println!("commands for drives: {}", bench.tally);
    for difference in &bench.complaints {
        println!("{difference}");
    }
    assert!(bench.complaints.is_empty(), "the drives differ");
}

#[test]
fn registers_do_the_same_on_both_chips() {
    let kit = Kit::open().expect("QEMU");
    for model in [Model::Lsi53c895a, Model::Lsi53c810] {
        let mut bench = Bench::new(&kit, model).expect("QEMU");
        for seed in first_seed()..first_seed() + programs() / 4 {
            bench
                .judge_registers(&generate::accesses(seed))
                .expect("QEMU");
            if bench.complaints.len() >= FINDINGS {
                break;
            }
        }
        println!("registers, {model:?}: {}", bench.tally);
        for difference in &bench.complaints {
            println!("{difference}");
        }
        assert!(bench.complaints.is_empty(), "the registers differ");
    }
}
