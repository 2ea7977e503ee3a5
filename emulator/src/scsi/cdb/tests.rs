//! Formats and refusals.

use proptest::prelude::*;

use super::*;

fn parse(cdb: &[u8]) -> Result<Command, Sense> {
    parse_as(cdb, Kind::Disk)
}

fn parse_as(cdb: &[u8], kind: Kind) -> Result<Command, Sense> {
    Command::parse(cdb, 0, kind)
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
    assert_eq!(parse(&[0x06, 0, 0, 0, 0, 0]), Err(Sense::INVALID_OPERATION));
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

proptest! {
    /// The CDB usage data tell the truth: a bit that is not in them changes nothing.
    #[test]
    fn only_bits_in_use_count(bytes in proptest::collection::vec(any::<u8>(), 16), cdrom in any::<bool>()) {
        let kind = if cdrom { Kind::Cdrom } else { Kind::Disk };
        for entry in catalog::entries(kind) {
            let mut cdb = bytes[..entry.usage.len()].to_vec();
            cdb[0] = entry.operation();
            if let Some(action) = entry.action {
                cdb[1] = cdb[1] & 0xe0 | action;
            }
            // NACA, FLAG and LINK are looked at in every control byte.
            let control = cdb.len() - 1;
            cdb[control] &= !7;
            let mut masked: Vec<_> = cdb.iter().zip(entry.usage).map(|(byte, usage)| byte & usage).collect();
            masked[0] = cdb[0];
            if let Some(action) = entry.action {
                masked[1] |= action;
            }
            prop_assert_eq!(parse_as(&cdb, kind), parse_as(&masked, kind), "{:02x?}", cdb);
        }
    }
}

/// The catalog is in order, and each command has the length that its group says.
#[test]
fn the_catalog_is_in_order() {
    for kind in [Kind::Disk, Kind::Cdrom] {
        let entries: Vec<_> = catalog::entries(kind).collect();
        assert!(entries.is_sorted_by_key(|entry| (entry.operation(), entry.action)));
        for entry in entries {
            assert_eq!(Some(entry.usage.len()), length(entry.operation()));
            let action = entry.action.unwrap_or(0);
            assert_eq!(entry.usage[1] & action, action);
        }
    }
}
