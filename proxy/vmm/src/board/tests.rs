use super::*;
use std::sync::Mutex;

use outrigger_proxy::{Access, Width};

use outrigger_proxy::in_process;
use outrigger_proxy::port::{Port, PortError};

/// A device that records what reaches it.
#[derive(Clone, Debug, Default)]
struct Recorder {
    seen: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    fn note(&self, what: String) {
        self.seen.lock().unwrap().push(what);
    }
}

impl Port for Recorder {
    fn read(&mut self, access: Access) -> Result<u64, PortError> {
        self.note(format!(
            "read {} {:#x} {}",
            access.region,
            access.offset,
            access.width.bytes()
        ));
        Ok(if access.region == 7 && access.offset >= 0x0c {
            0
        } else {
            0x1234_5678
        })
    }

    fn post(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        self.note(format!(
            "post {} {:#x} {} {value:#x}",
            access.region,
            access.offset,
            access.width.bytes()
        ));
        Ok(())
    }

    fn write(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        self.note(format!(
            "write {} {:#x} {} {value:#x}",
            access.region,
            access.offset,
            access.width.bytes()
        ));
        Ok(())
    }
}

/// One memory BAR of 256 bytes, at 0xfe000000.
fn board() -> (Board, Recorder) {
    let recorder = Recorder::default();
    let mut ports =
        in_process::attach(vec![Box::new(recorder.clone())], [0x100, 0, 0, 0, 0, 0, 0]).unwrap();
    let mut port = ports.remove(0);
    port.config_write(0x10, Width::Dword, 0xfe00_0000);
    port.config_write(0x04, Width::Word, 2);
    recorder.seen.lock().unwrap().clear();
    (Board::new(port, Arc::default()), recorder)
}

fn read<const N: usize>(board: &mut Board, port: u16) -> [u8; N] {
    let mut data = [0; N];
    board.port_read(port, &mut data);
    data
}

#[test]
fn config_cycles_reach_the_device() {
    let (mut board, recorder) = board();
    board.port_write(0xcf8, &0x8000_0808_u32.to_le_bytes());
    assert_eq!(read::<4>(&mut board, 0xcf8), 0x8000_0808_u32.to_le_bytes());
    assert_eq!(read::<4>(&mut board, 0xcfc), 0x1234_5678_u32.to_le_bytes());
    assert_eq!(read::<2>(&mut board, 0xcfe), [0x78, 0x56]);
    board.port_write(0xcfc, &[7, 0]);
    board.port_write(0xcff, &[9]);
    assert_eq!(
        *recorder.seen.lock().unwrap(),
        [
            "read 7 0x8 4",
            "read 7 0xa 2",
            "write 7 0x8 2 0x7",
            "write 7 0xb 1 0x9"
        ]
    );
    assert_eq!(board.counters.accesses.config_reads, 2);
    assert_eq!(board.counters.accesses.config_writes, 2);
}

#[test]
fn other_config_cycles_do_not() {
    let (mut board, recorder) = board();
    // Disabled, another device, another function, another bus, across the end of the register.
    for (address, port) in [
        (0x0804, 0xcfc),
        (0x8000_1004, 0xcfc),
        (0x8000_0904, 0xcfc),
        (0x8001_0804, 0xcfc),
    ] {
        board.port_write(0xcf8, &u32::to_le_bytes(address));
        assert_eq!(read::<4>(&mut board, port), [0xff; 4]);
        board.port_write(port, &[0; 4]);
    }
    board.port_write(0xcf8, &0x8000_0804_u32.to_le_bytes());
    assert_eq!(read::<4>(&mut board, 0xcfd), [0xff; 4]);
    assert_eq!(read::<1>(&mut board, 0xcf8), [0xff]);
    board.port_write(0xcf8, &[0]);
    assert_eq!(read::<4>(&mut board, 0xcf8), 0x8000_0804_u32.to_le_bytes());
    assert!(recorder.seen.lock().unwrap().is_empty());
}

#[test]
fn the_bridge_is_there() {
    let (mut board, recorder) = board();
    board.port_write(0xcf8, &0x8000_0000_u32.to_le_bytes());
    assert_eq!(read::<4>(&mut board, 0xcfc), 0x1237_8086_u32.to_le_bytes());
    board.port_write(0xcf8, &0x8000_0008_u32.to_le_bytes());
    assert_eq!(read::<2>(&mut board, 0xcfe), [0, 6]);
    assert!(recorder.seen.lock().unwrap().is_empty());
}

#[test]
fn undecoded_reads_are_all_ones_and_not_counted() {
    let (mut board, _) = board();
    assert_eq!(read::<2>(&mut board, 0x3f8), [0xff; 2]);
    let mut data = [0; 4];
    board.memory_read(0xfe00_0000, &mut data);
    assert_eq!(data, 0x1234_5678_u32.to_le_bytes());
    assert_eq!(board.counters.accesses.reads, 1);
    assert_eq!(board.counters.read_latency.count(), 1);
}

#[test]
fn the_mark_keeps_the_setup_apart() {
    let (mut board, _) = board();
    board.memory_write(0xfe00_0000, &[1]);
    board.port_write(port::DEBUG, b"x");
    board.port_write(port::MARK, &[0]);
    board.memory_write(0xfe00_0000, &[1]);
    board.memory_write(0xfe00_0000, &[1]);
    board.port_write(port::REPORT, &1_u32.to_le_bytes());
    assert_eq!(board.reported(), Some(1));
    let (_, counters, began) = board.into_parts();
    assert_eq!(
        (counters.setup_accesses.writes, counters.accesses.writes),
        (1, 2)
    );
    assert_eq!(counters.messages, b"x");
    assert!(began.is_some());
}
