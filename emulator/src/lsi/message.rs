//! Step 8, messages: what initiator and target say to each other in the message phases (SPI-4, section 16).

use crate::scsi::{Attribute, Management};

/// COMMAND COMPLETE.
pub(super) const COMMAND_COMPLETE: u8 = 0x00;
/// SAVE DATA POINTERS.
pub(super) const SAVE_POINTERS: u8 = 0x02;
/// DISCONNECT.
pub(super) const DISCONNECT: u8 = 0x04;
/// MESSAGE REJECT.
pub(super) const REJECT: u8 = 0x07;
/// SIMPLE QUEUE TAG.
pub(super) const SIMPLE_TAG: u8 = 0x20;
/// IGNORE WIDE RESIDUE.
pub(super) const IGNORE_WIDE_RESIDUE: u8 = 0x23;
/// IDENTIFY, for LUN 0.
pub(super) const IDENTIFY: u8 = 0x80;

/// The fastest period that a target agrees to: 25 ns (Ultra2), in SDTR's units.
const FASTEST_PERIOD: u8 = 0x0a;
/// The deepest REQ/ACK offset: what the 53C895A can do.
const DEEPEST_OFFSET: u8 = 31;

/// What an initiator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// IDENTIFY with a logical unit that can exist.
    Identify { lun: u8, may_disconnect: bool },
    /// IDENTIFY with reserved bits: no nexus comes of it.
    BadIdentify,
    /// SIMPLE, HEAD OF QUEUE or ORDERED tag.
    Tag { attribute: Attribute, tag: u8 },
    /// NO OPERATION.
    NoOperation,
    /// ABORT, ABORT TAG, CLEAR QUEUE, LOGICAL UNIT RESET, BUS DEVICE RESET.
    Manage(Management),
    /// MESSAGE REJECT.
    Reject,
    /// INITIATOR DETECTED ERROR.
    InitiatorDetectedError,
    /// MESSAGE PARITY ERROR.
    ParityError,
    /// SDTR: synchronous transfers.
    Synchronous { period: u8, offset: u8 },
    /// WDTR: bus width as a power of two of bytes.
    Wide { exponent: u8 },
    /// PPR: both, and options.
    Parallel {
        period: u8,
        offset: u8,
        exponent: u8,
    },
    /// Something that targets here do not know.
    Unknown,
}

/// Parses the message that `bytes` starts with, and its length; `None` if it needs more bytes.
pub(super) fn parse(bytes: &[u8]) -> Option<(Message, usize)> {
    let &code = bytes.first()?;
    let one = |message| Some((message, 1));
    match code {
        0x80..=0xff if code & 0x38 != 0 => one(Message::BadIdentify),
        0x80..=0xff => one(Message::Identify {
            lun: code & 7,
            may_disconnect: code & 0x40 != 0,
        }),
        0x01 => extended(bytes),
        0x05 => one(Message::InitiatorDetectedError),
        0x06 => one(Message::Manage(Management::AbortTaskSet)),
        0x07 => one(Message::Reject),
        0x08 => one(Message::NoOperation),
        0x09 => one(Message::ParityError),
        0x0c => one(Message::Manage(Management::TargetReset)),
        0x0d => one(Message::Manage(Management::AbortTask)),
        0x0e => one(Message::Manage(Management::ClearTaskSet)),
        0x17 => one(Message::Manage(Management::LogicalUnitReset)),
        0x20..=0x2f => {
            let &tag = bytes.get(1)?;
            let attribute = match code {
                0x20 => Attribute::Simple,
                0x21 => Attribute::HeadOfQueue,
                0x22 => Attribute::Ordered,
                _ => return Some((Message::Unknown, 2)),
            };
            Some((Message::Tag { attribute, tag }, 2))
        }
        _ => one(Message::Unknown),
    }
}

fn extended(bytes: &[u8]) -> Option<(Message, usize)> {
    let &stated = bytes.get(1)?;
    let length = if stated == 0 {
        256
    } else {
        usize::from(stated)
    };
    let body = bytes.get(2..2 + length)?;
    let message = match *body {
        [0x01, period, offset] => Message::Synchronous { period, offset },
        [0x03, exponent] => Message::Wide { exponent },
        [0x04, period, _, offset, exponent, _] => Message::Parallel {
            period,
            offset,
            exponent,
        },
        _ => Message::Unknown,
    };
    Some((message, 2 + length))
}

/// What a target answers to a negotiation: the asked, cut down to what it can do.
pub(super) fn agreement(message: Message, wide: bool) -> Option<Vec<u8>> {
    let width = |exponent: u8| exponent.min(u8::from(wide));
    let offset_of = |offset: u8| offset.min(DEEPEST_OFFSET);
    match message {
        Message::Synchronous { period, offset } => Some(vec![
            0x01,
            3,
            0x01,
            period.max(FASTEST_PERIOD),
            offset_of(offset),
        ]),
        Message::Wide { exponent } => Some(vec![0x01, 2, 0x03, width(exponent)]),
        // No option of PPR (DT clocking and beyond) exists on an Ultra2 bus.
        Message::Parallel {
            period,
            offset,
            exponent,
        } => Some(vec![
            0x01,
            6,
            0x04,
            period.max(FASTEST_PERIOD),
            0,
            offset_of(offset),
            width(exponent),
            0,
        ]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The longest message: an extended one whose length byte is 0, which means 256.
    const LONGEST: usize = 258;

    proptest! {
        #[test]
        fn parsing_ends_within_the_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            match parse(&bytes) {
                Some((_, length)) => prop_assert!(length >= 1 && length <= bytes.len()),
                None => prop_assert!(bytes.len() < LONGEST),
            }
        }
    }

    #[test]
    fn negotiations_are_cut_to_what_the_bus_can_do() {
        let (ppr, length) = parse(&[1, 6, 4, 9, 0, 62, 1, 2, 0x55]).expect("whole");
        assert_eq!(length, 8);
        assert_eq!(agreement(ppr, true), Some(vec![1, 6, 4, 10, 0, 31, 1, 0]));
        let (wdtr, _) = parse(&[1, 2, 3, 2]).expect("whole");
        assert_eq!(agreement(wdtr, false), Some(vec![1, 2, 3, 0]));
        let (sdtr, _) = parse(&[1, 3, 1, 25, 15]).expect("whole");
        assert_eq!(agreement(sdtr, true), Some(vec![1, 3, 1, 25, 15]));
    }

    #[test]
    fn an_identify_for_an_impossible_unit_is_not_an_identify() {
        assert_eq!(parse(&[0x88]), Some((Message::BadIdentify, 1)));
        let identify = Message::Identify {
            lun: 3,
            may_disconnect: true,
        };
        assert_eq!(parse(&[0xc3]), Some((identify, 1)));
    }
}
