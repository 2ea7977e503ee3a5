//! Formats and refusals.

use proptest::prelude::*;

use super::*;

fn parse(cdb: &[u8]) -> Result<Command, Sense> {
    Command::parse(cdb, 0, Kind::Disk)
}

#[test]
fn reads_of_each_length() {
    let range = |lba, count, count_field| {
        Ok(Command::Read {
            range: Range {
                lba,
                count,
                count_field,
            },
        })
    };
    assert_eq!(parse(&[0x08, 0xff, 2, 3, 0, 0]), range(0x1f_0203, 256, 4));
    assert_eq!(
        parse(&[0x28, 0, 1, 2, 3, 4, 0, 5, 6, 0]),
        range(0x0102_0304, 0x506, 7)
    );
    let cdb = [0xa8, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0];
    assert_eq!(parse(&cdb), range(0x0102_0304, 0x0506_0708, 6));
    let cdb = [0x88, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0, 0];
    assert_eq!(parse(&cdb), range(0x0102_0304_0506_0708, 0x090a_0b0c, 10));
}

#[test]
fn refusals_point_at_the_field() {
    assert_eq!(parse(&[]), Err(Sense::INVALID_OPERATION));
    assert_eq!(parse(&[0x07, 0, 0, 0, 0, 0]), Err(Sense::INVALID_OPERATION));
    assert_eq!(
        parse(&[0x12, 0, 3, 0, 36, 0]),
        Err(Sense::invalid_field(2, None))
    );
    assert_eq!(
        parse(&[0x00, 0, 0, 0, 0, 4]),
        Err(Sense::invalid_field(5, Some(2)))
    );
    assert_eq!(
        parse(&[0x00, 0, 0, 0, 0, 1]),
        Err(Sense::invalid_field(5, Some(0)))
    );
    let read = [0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0];
    assert_eq!(parse(&read), Err(Sense::invalid_field(1, Some(7))));
    assert!(Command::parse(&read, 1, Kind::Disk).is_ok());
    assert_eq!(parse(&[0x1a, 0, 0xc8, 0, 4, 0]), Err(Sense::NO_SAVING));
}

proptest! {
    #[test]
    fn any_bytes_parse_or_are_refused(cdb in proptest::collection::vec(any::<u8>(), 0..20), lun in 0u8..8, kind in prop_oneof![Just(Kind::Disk), Just(Kind::Cdrom)]) {
        let _ = Command::parse(&cdb, lun, kind);
    }
}
