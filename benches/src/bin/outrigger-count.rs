//! Repeats one piece of the device's work, for a tool that counts instructions (`valgrind --tool=callgrind`).

use anyhow::{Result, bail};
use clap::Parser;
use outrigger_benches::chip::Chip;

/// Repeats one piece of the device's work.
#[derive(Debug, Parser)]
#[command(name = "outrigger-count")]
struct Arguments {
    /// scripts, test-unit-ready or read
    work: String,
    /// How often.
    times: u32,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut chip = Chip::new()?;
    let act: fn(&mut Chip) -> Result<()> = match arguments.work.as_str() {
        "scripts" => {
            chip.prepare_scripts()?;
            Chip::scripts
        }
        "test-unit-ready" => {
            chip.prepare_test_unit_ready()?;
            Chip::command
        }
        "read" => {
            chip.prepare_read()?;
            Chip::command
        }
        other => bail!("{other}: scripts, test-unit-ready and read are known"),
    };
    for _ in 0..arguments.times {
        act(&mut chip)?;
    }
    Ok(())
}
