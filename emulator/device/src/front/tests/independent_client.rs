//! Another implementation of the client: the crate that Cloud Hypervisor uses.

use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::device::{GREET, GREETING, LINE};
use super::*;

/// Works the device through all that this client can do, twice.
#[test]
fn the_vfio_user_crates_client() {
    let mut server = Server::new();
    let path = server.path.clone();
    let done = Arc::new(AtomicBool::new(false));
    let waker = Arc::new(mio::Waker::new(server.worker.poll.registry(), Token(0)).unwrap());
    let client = std::thread::spawn({
        let (done, waker) = (Arc::clone(&done), Arc::clone(&waker));
        move || {
            let result = std::panic::catch_unwind(|| {
                for _ in 0..2 {
                    work(&path);
                }
            });
            done.store(true, Ordering::Release);
            waker.wake().unwrap();
            result
        }
    });
    while !done.load(Ordering::Acquire) {
        match server.worker.export.deadline() {
            Some(due) => {
                server.worker.now = due;
                server.turn();
            }
            None => server.worker.turn(Duration::from_secs(10)),
        }
    }
    assert!(client.join().unwrap().is_ok());
}

fn work(path: &std::path::Path) {
    let mut client = ::vfio_user::Client::new(path).unwrap();
    let bar = client.region(1).unwrap();
    assert_eq!((bar.size, bar.flags), (0x400, 3));
    assert_eq!(client.region(7).unwrap().size, 0x100);
    let mut config = [0; 256];
    client.region_read(7, 0, &mut config).unwrap();
    assert_eq!(config[..4], [0x00, 0x10, 0x12, 0x00]);

    let irq = client.get_irq_info(0).unwrap();
    assert_eq!((irq.flags, irq.count), (7, 1));
    for index in 1..5 {
        let count = u32::from(index == 3);
        assert_eq!(client.get_irq_info(index).unwrap().count, count);
    }

    let ram = memory(0x4000);
    client
        .dma_map(0x1000, 0x8000, 0x2000, ram.as_raw_fd())
        .unwrap();
    client.region_write(7, 4, &[6, 0]).unwrap();
    client
        .region_write(1, GREET, &0x8010_u64.to_le_bytes())
        .unwrap();
    let mut found = [0; 4];
    ram.read_exact_at(&mut found, 0x1010).unwrap();
    assert_eq!(found, *GREETING);

    let trigger = eventfd();
    client
        .set_irqs(0, 0x24, 0, 1, &[trigger.as_raw_fd()])
        .unwrap();
    client.region_write(1, LINE, &[1]).unwrap();
    assert_eq!(wait(&trigger), 1);
    client.set_irqs(0, 0x11, 0, 1, &[]).unwrap();
    assert_eq!(wait(&trigger), 1, "unmasked with the line up");
    client.set_irqs(0, 0x21, 0, 0, &[]).unwrap();

    client.dma_unmap(0x8000, 0x2000).unwrap();
    client.reset().unwrap();
    let mut line = [0xff];
    client.region_read(1, LINE, &mut line).unwrap();
    assert_eq!(line, [0]);
    client.shutdown().unwrap();
}

/// What an eventfd counts, once it does.
fn wait(fd: &OwnedFd) -> u64 {
    let mut fds = [PollFd::new(fd, PollFlags::IN)];
    let limit = Timespec {
        tv_sec: 10,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&limit)).unwrap();
    count(fd)
}
