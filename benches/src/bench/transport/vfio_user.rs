//! The vfio-user front of the emulator, with the crate `vfio_user` as its client.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::bench::clock::{Timed, time};
use crate::bench::cpus::{Cpus, Place, bind};
use crate::front::{Source, device_arguments, emulator_binary};

/// BAR 1: the registers.
const REGION: u32 = 1;
/// ISTAT0.
const OFFSET: u64 = 0x14;

/// An emulator that listens; killed in the end.
struct Listening(Child);

impl Drop for Listening {
    fn drop(&mut self) {
        // It may have ended; there is nobody left to tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listen(socket: &Path) -> Result<Listening> {
    let child = Command::new(emulator_binary()?)
        .args(device_arguments(&[Source::Memory { bytes: 1 << 20 }]))
        .arg("--export")
        .arg(format!(
            "type=vfio-user,device=lsi0,path={}",
            socket.display()
        ))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let mut listening = Listening(child);
    let start = Instant::now();
    while !socket.exists() {
        if listening.0.try_wait()?.is_some() || start.elapsed() > Duration::from_secs(10) {
            bail!("the emulator does not listen");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(listening)
}

/// Reads of one register.
pub(super) fn register_reads(cpus: Cpus, place: Place, budget: Duration) -> Result<Timed> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("lsi0.sock");
    // A process inherits the CPU of the thread that starts it.
    let _emulator = std::thread::scope(|scope| {
        let starter = scope.spawn(|| {
            bind(match place {
                Place::TwoCpus => cpus.server,
                Place::OneCpu => cpus.client,
            })?;
            listen(&socket)
        });
        starter
            .join()
            .unwrap_or_else(|_| bail!("the thread that starts the emulator panicked"))
    })?;
    cpus.alone(|| {
        let mut client = vfio_user::Client::new(&socket)?;
        let timed = time(budget, || {
            let mut register = [0; 4];
            client.region_read(REGION, OFFSET, &mut register)?;
            std::hint::black_box(register);
            Ok(())
        })?;
        client.shutdown()?;
        Ok(timed)
    })
}
