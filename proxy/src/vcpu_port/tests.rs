use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::config_space::HEADER;
use crate::health::Event;

/// A device that stores bytes and remembers accesses; after `alive` of them it fails.
#[derive(Debug, Default)]
struct Store {
    bytes: HashMap<(u8, u64), u8>,
    log: Vec<(Access, Option<u64>, bool)>,
    alive: Option<usize>,
}

#[derive(Clone, Debug, Default)]
struct StorePort(Arc<Mutex<Store>>);

impl StorePort {
    fn step(&self) -> Result<std::sync::MutexGuard<'_, Store>, PortError> {
        let mut store = self.0.lock().unwrap();
        match &mut store.alive {
            Some(0) => return Err(PortError::TimedOut),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(store)
    }

    fn store(&self, access: Access, value: u64, posted: bool) -> Result<(), PortError> {
        let mut store = self.step()?;
        store.log.push((access, Some(value), posted));
        for (offset, byte) in (access.offset..)
            .zip(value.to_le_bytes())
            .take(access.width.bytes().into())
        {
            store.bytes.insert((access.region, offset), byte);
        }
        Ok(())
    }
}

impl Port for StorePort {
    fn read(&mut self, access: Access) -> Result<u64, PortError> {
        let mut store = self.step()?;
        store.log.push((access, None, false));
        let mut bytes = [0xa5; 8];
        for (offset, byte) in (access.offset..)
            .zip(&mut bytes)
            .take(access.width.bytes().into())
        {
            *byte = store
                .bytes
                .get(&(access.region, offset))
                .copied()
                .unwrap_or(0);
        }
        // The bytes above the width are rubbish: nobody may believe them.
        Ok(u64::from_le_bytes(bytes))
    }

    fn post(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        self.store(access, value, true)
    }

    fn write(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        self.store(access, value, false)
    }
}

/// BAR0 port 0xc000 (0x100), BAR1 at 0x1000_0000 (0x10), BAR2 right behind it (0x10), ROM at
/// 0x2000_0000.
fn port() -> (VcpuPort, StorePort, Arc<Health>) {
    let mut header = [0; HEADER];
    header[0x10] = 1;
    let config = ConfigSpace::new(&header, [0x100, 0x10, 0x10, 0, 0, 0, 0x800]).unwrap();
    let health = Arc::new(Health::new(None).unwrap());
    let store = StorePort::default();
    let mut port = VcpuPort::new(
        Box::new(store.clone()),
        None,
        Arc::new(Mutex::new(config)),
        0x100,
        Arc::clone(&health),
    );
    port.config_write(0x10, Width::Dword, 0xc000);
    port.config_write(0x14, Width::Dword, 0x1000_0000);
    port.config_write(0x18, Width::Dword, 0x1000_0010);
    port.config_write(0x30, Width::Dword, 0x2000_0001);
    port.config_write(0x04, Width::Word, 3);
    store.0.lock().unwrap().log.clear();
    (port, store, health)
}

fn log(store: &StorePort) -> Vec<(u8, u64, u8)> {
    let log = std::mem::take(&mut store.0.lock().unwrap().log);
    log.into_iter()
        .map(|(access, _, _)| (access.region, access.offset, access.width.bytes()))
        .collect()
}

#[test]
fn widths_pass_as_they_are() {
    let (mut port, store, _) = port();
    for (len, width) in [(1, 1), (2, 2), (4, 4), (8, 8)] {
        assert!(port.mmio_write(0x1000_0001, &vec![0x11; len]));
        let mut data = vec![0; len];
        assert!(port.mmio_read(0x1000_0001, &mut data));
        assert_eq!(data, vec![0x11; len]);
        assert_eq!(log(&store), [(1, 1, width), (1, 1, width)]);
    }
}

#[test]
fn memory_writes_are_posted_and_the_others_wait() {
    let (mut port, store, _) = port();
    assert!(port.mmio_write(0x1000_0000, &[1]));
    assert!(port.pio_write(0xc000, &[1]));
    port.config_write(0x3c, Width::Byte, 11);
    let posted: Vec<bool> = store
        .0
        .lock()
        .unwrap()
        .log
        .iter()
        .map(|(_, _, posted)| *posted)
        .collect();
    assert_eq!(posted, [true, false, false]);
    // Five config writes placed the BARs.
    assert_eq!(
        port.counters(),
        Counters {
            crossings: 7,
            posted_writes: 1,
            ..Counters::default()
        }
    );
}

#[test]
fn an_access_over_a_bars_end_is_split_there() {
    let (mut port, store, _) = port();
    assert!(port.mmio_write(0x1000_000e, &[1, 2, 3, 4]));
    assert_eq!(log(&store), [(1, 0xe, 2), (2, 0, 2)]);
    let mut data = [0; 4];
    assert!(port.mmio_read(0x1000_000e, &mut data));
    assert_eq!(data, [1, 2, 3, 4]);
    assert_eq!(log(&store), [(1, 0xe, 2), (2, 0, 2)]);
    // Behind BAR2 there is nothing.
    let mut data = [0; 8];
    assert!(port.mmio_read(0x1000_001d, &mut data));
    assert_eq!(data, [0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(log(&store), [(2, 0xd, 2), (2, 0xf, 1)]);
    assert!(port.pio_write(0xc0ff, &[9, 9]));
    assert_eq!(log(&store), [(0, 0xff, 1)]);
}

#[test]
fn a_region_is_reached_without_its_address() {
    let (mut port, store, _) = port();
    // Nothing decodes, which is the business of a VMM that uses addresses.
    port.config_write(0x04, Width::Word, 0);
    assert!(!port.mmio_read(0x1000_0000, &mut [0]));
    log(&store);
    port.write(1, 2, &[1, 2, 3, 4]);
    port.write(0, 0xfe, &[5, 6, 7]);
    port.write(6, 0, &[8]);
    port.write(3, 0, &[9]);
    let posted: Vec<bool> = store
        .0
        .lock()
        .unwrap()
        .log
        .iter()
        .map(|(_, _, posted)| *posted)
        .collect();
    assert_eq!(posted, [true, false]);
    assert_eq!(log(&store), [(1, 2, 4), (0, 0xfe, 2)]);
    let mut data = [0; 3];
    port.read(0, 0xfe, &mut data);
    assert_eq!(data, [5, 6, 0xff]);
    for (region, offset) in [(3, 0), (1, 0x10), (1, u64::MAX), (7, 0), (u8::MAX, 0)] {
        let mut data = [0; 2];
        port.read(region, offset, &mut data);
        assert_eq!(data, [0xff; 2], "{region} {offset:#x}");
        port.write(region, offset, &data);
    }
    port.read(1, 0, &mut []);
    assert_eq!(log(&store), [(0, 0xfe, 2)]);
    // More than one access can have.
    let mut data = [0; 13];
    port.read(1, 0, &mut data);
    assert_eq!(log(&store), [(1, 0, 8), (1, 8, 4), (1, 12, 1)]);
}

#[test]
fn foreign_addresses_are_left_alone() {
    let (mut port, store, _) = port();
    let mut data = [7; 4];
    assert!(!port.mmio_read(0x0fff_fffe, &mut data));
    assert!(!port.mmio_write(0x1000_0020, &data));
    assert!(!port.mmio_read(0xc000, &mut data));
    assert!(!port.pio_read(0xc100, &mut data));
    assert!(!port.mmio_read(0x1000_0000, &mut []));
    assert!(!port.mmio_read(u64::MAX, &mut data));
    assert_eq!(data, [7; 4]);
    assert_eq!(log(&store), []);
}

#[test]
fn a_rom_is_read_only() {
    let (mut port, store, _) = port();
    assert!(port.mmio_write(0x2000_0000, &[1]));
    assert_eq!(log(&store), []);
    assert!(port.mmio_read(0x2000_0000, &mut [0]));
    assert_eq!(log(&store), [(6, 0, 1)]);
}

#[test]
fn config_reads_mix_both_sides_knowledge() {
    let (mut port, store, _) = port();
    // The emulator claims other decode bits and a BAR elsewhere.
    store
        .0
        .lock()
        .unwrap()
        .bytes
        .extend([((7, 0x04), 0x04), ((7, 0x05), 0x05), ((7, 0x14), 0xee)]);
    assert_eq!(port.config_read(0x04, Width::Word), 0x0507);
    assert_eq!(port.config_read(0x14, Width::Dword), 0x1000_0000);
    assert_eq!(log(&store), [(7, 0x04, 2)]);
    assert_eq!(port.config_read(0xfe, Width::Dword), 0xffff_ffff);
    port.config_write(0xfe, Width::Dword, 0);
    assert_eq!(log(&store), []);
}

#[test]
fn the_dead_read_all_ones_and_are_reported_once() {
    let (mut port, store, health) = port();
    store.0.lock().unwrap().alive = Some(1);
    let mut data = [0; 8];
    assert!(port.mmio_read(0x1000_0004, &mut data));
    assert_eq!(data, [0, 0, 0, 0, 0, 0, 0, 0]);
    for _ in 0..3 {
        assert!(port.mmio_read(0x1000_0004, &mut data));
        assert_eq!(data, [0xff; 8]);
        assert!(port.mmio_write(0x1000_0004, &data));
        assert!(port.pio_read(0xc000, &mut data[..1]));
        assert_eq!(port.config_read(0x14, Width::Word), 0xffff);
        port.config_write(0x14, Width::Dword, 0x3000_0000);
        port.config_write(0x14, Width::Dword, 0x1000_0000);
    }
    assert_eq!(log(&store).len(), 1);
    assert_eq!(health.take(), Some(Event::TimedOut));
    assert_eq!(health.take(), None);
    assert_eq!(port.counters().dead_accesses, 18);
}

proptest! {
    /// Bytes come back from where they were put, however an access is cut; what lies outside reads
    /// all ones.
    #[test]
    fn any_access_is_the_sum_of_its_bytes(offset in 0_u64..0x28, data in proptest::collection::vec(any::<u8>(), 1..=8)) {
        let (mut port, _, _) = port();
        let address = 0x1000_0000 + offset;
        let decoded = offset < 0x20;
        prop_assert_eq!(port.mmio_write(address, &data), decoded);
        for (at, &byte) in (address..).zip(&data) {
            let mut read = [0x5a];
            let inside = at < 0x1000_0020;
            prop_assert_eq!(port.mmio_read(at, &mut read), inside);
            prop_assert_eq!(read[0], if inside { byte } else { 0x5a });
        }
        let mut whole = data.clone();
        prop_assert_eq!(port.mmio_read(address, &mut whole), decoded);
        if decoded {
            for (at, (&read, &wrote)) in (offset..).zip(whole.iter().zip(&data)) {
                prop_assert_eq!(read, if at < 0x20 { wrote } else { 0xff });
            }
        }
    }
}
