use super::*;

fn header() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0x10] = 1;
    header
}

fn lsi() -> ConfigSpace {
    ConfigSpace::new(&header(), [0x100, 0x400, 0x2000, 0, 0, 0, 0]).unwrap()
}

#[test]
fn bars_are_known_here_and_command_in_part() {
    let mut config = lsi();
    assert_eq!(config.known(0x10, Width::Dword), (1, 0xffff_ffff));
    assert_eq!(config.known(0x24, Width::Dword), (0, 0xffff_ffff));
    assert_eq!(config.known(0x28, Width::Dword), (0, 0));
    assert_eq!(config.known(0x0e, Width::Dword), (0x1_0000, 0xffff_0000));
    config.write(0x04, Width::Word, 0x0547);
    assert_eq!(config.known(0x04, Width::Dword), (3, 3));
    assert_eq!(config.known(0xff, Width::Qword), (0, 0));
    assert_eq!(config.known(u16::MAX, Width::Qword), (0, 0));
}

#[test]
fn a_bar_can_be_written_byte_by_byte() {
    let mut config = lsi();
    for (offset, byte) in (0x14..).zip(0xfeb0_0400_u32.to_le_bytes()) {
        config.write(offset, Width::Byte, byte.into());
    }
    config.write(0x06, Width::Dword, 0xffff_ffff);
    config.write(0x04, Width::Byte, 2);
    let hit = config.windows().find(Space::Memory, 0xfeb0_0410).unwrap();
    assert_eq!((hit.region, hit.offset, hit.room), (1, 0x10, 0x3f0));
}

#[test]
fn decode_bits_without_bars_read_zero() {
    let config = ConfigSpace::new(&[0; HEADER], [0, 0x400, 0, 0, 0, 0, 0]);
    let mut config = config.unwrap();
    config.write(0x04, Width::Word, 0xffff);
    assert_eq!(config.known(0x04, Width::Word), (2, 3));
}

#[test]
fn what_the_snapshot_decodes_is_decoded() {
    let mut header = header();
    header[0x10..0x14].copy_from_slice(&0xc001_u32.to_le_bytes());
    header[0x04] = 1;
    let mut config = ConfigSpace::new(&header, [0x100, 0, 0, 0, 0, 0, 0]).unwrap();
    assert!(config.windows().find(Space::Io, 0xc0ff).is_some());
    config.reset();
    assert!(config.windows().find(Space::Io, 0xc0ff).is_none());
    assert_eq!(config.known(0x10, Width::Dword).0, 1);
}

#[test]
fn bridges_are_refused_and_multifunction_is_not() {
    let mut header = header();
    header[HEADER_TYPE] = 0x80;
    assert!(ConfigSpace::new(&header, [0; SLOTS]).is_ok());
    header[HEADER_TYPE] = 0x81;
    assert_eq!(
        ConfigSpace::new(&header, [0; SLOTS]).unwrap_err(),
        ConfigError::HeaderType(0x81)
    );
}
