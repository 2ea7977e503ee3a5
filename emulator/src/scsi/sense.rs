//! Step 8, SCSI: sense data, and the one place where a backend's error becomes sense (SPC-3 section 4.5).

use outrigger_block::{BlockError, Op};

/// Where in the CDB or parameter list the offending field is (SPC-3 section 4.5.2.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// In the CDB; otherwise in the parameter list.
    pub(crate) in_cdb: bool,
    /// Its first byte.
    pub(crate) byte: u16,
    /// Its most significant bit, for fields smaller than a byte.
    pub(crate) bit: Option<u8>,
}

/// Why a command ended with CHECK CONDITION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sense {
    /// Sense key.
    pub(crate) key: u8,
    /// Additional sense code and its qualifier.
    pub(crate) code: (u8, u8),
    /// The INFORMATION field: a logical block address.
    pub(crate) information: Option<u64>,
    /// The sense-key-specific field pointer.
    pub(crate) field: Option<Field>,
}

const NO_SENSE: u8 = 0x0;
const NOT_READY: u8 = 0x2;
const MEDIUM_ERROR: u8 = 0x3;
const ILLEGAL_REQUEST: u8 = 0x5;
const UNIT_ATTENTION: u8 = 0x6;
const DATA_PROTECT: u8 = 0x7;
const ABORTED_COMMAND: u8 = 0xb;
const MISCOMPARE: u8 = 0xe;

impl Sense {
    /// NO SENSE: nothing to report.
    pub(crate) const NONE: Self = Self::plain(NO_SENSE, 0x00, 0x00);
    /// LOGICAL UNIT NOT READY, INITIALIZING COMMAND REQUIRED: the unit is stopped.
    pub(crate) const STOPPED: Self = Self::plain(NOT_READY, 0x04, 0x02);
    /// MEDIUM NOT PRESENT - TRAY CLOSED.
    pub(crate) const NO_MEDIUM: Self = Self::plain(NOT_READY, 0x3a, 0x01);
    /// MEDIUM NOT PRESENT - TRAY OPEN.
    pub(crate) const TRAY_OPEN: Self = Self::plain(NOT_READY, 0x3a, 0x02);
    /// PARAMETER LIST LENGTH ERROR.
    pub(crate) const PARAMETER_LENGTH: Self = Self::plain(ILLEGAL_REQUEST, 0x1a, 0x00);
    /// INVALID COMMAND OPERATION CODE.
    pub(crate) const INVALID_OPERATION: Self = Self::plain(ILLEGAL_REQUEST, 0x20, 0x00);
    /// LOGICAL UNIT NOT SUPPORTED.
    pub(crate) const NO_UNIT: Self = Self::plain(ILLEGAL_REQUEST, 0x25, 0x00);
    /// INVALID RELEASE OF PERSISTENT RESERVATION.
    pub(crate) const INVALID_RELEASE: Self = Self::plain(ILLEGAL_REQUEST, 0x26, 0x04);
    /// COMMAND SEQUENCE ERROR.
    pub(crate) const SEQUENCE: Self = Self::plain(ILLEGAL_REQUEST, 0x2c, 0x00);
    /// CANNOT READ MEDIUM - INCOMPATIBLE FORMAT.
    pub(crate) const INCOMPATIBLE_MEDIUM: Self = Self::plain(ILLEGAL_REQUEST, 0x30, 0x02);
    /// MEDIUM REMOVAL PREVENTED.
    pub(crate) const REMOVAL_PREVENTED: Self = Self::plain(ILLEGAL_REQUEST, 0x53, 0x02);
    /// ILLEGAL MODE FOR THIS TRACK.
    pub(crate) const ILLEGAL_TRACK_MODE: Self = Self::plain(ILLEGAL_REQUEST, 0x64, 0x00);
    /// SAVING PARAMETERS NOT SUPPORTED.
    pub(crate) const NO_SAVING: Self = Self::plain(ILLEGAL_REQUEST, 0x39, 0x00);
    /// POWER ON OCCURRED.
    pub(crate) const POWER_ON: Self = Self::plain(UNIT_ATTENTION, 0x29, 0x01);
    /// SCSI BUS RESET OCCURRED.
    pub(crate) const BUS_RESET: Self = Self::plain(UNIT_ATTENTION, 0x29, 0x02);
    /// BUS DEVICE RESET FUNCTION OCCURRED.
    pub(crate) const DEVICE_RESET: Self = Self::plain(UNIT_ATTENTION, 0x29, 0x03);
    /// NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED.
    pub(crate) const MEDIUM_CHANGED: Self = Self::plain(UNIT_ATTENTION, 0x28, 0x00);
    /// CAPACITY DATA HAS CHANGED.
    pub(crate) const CAPACITY_CHANGED: Self = Self::plain(UNIT_ATTENTION, 0x2a, 0x09);
    /// WRITE PROTECTED.
    pub(crate) const WRITE_PROTECTED: Self = Self::plain(DATA_PROTECT, 0x27, 0x00);
    /// OVERLAPPED COMMANDS ATTEMPTED.
    pub(crate) const OVERLAPPED: Self = Self::plain(ABORTED_COMMAND, 0x4e, 0x00);

    const fn plain(key: u8, asc: u8, ascq: u8) -> Self {
        Self {
            key,
            code: (asc, ascq),
            information: None,
            field: None,
        }
    }

    /// INVALID FIELD IN CDB, with a pointer to the field.
    pub(crate) const fn invalid_field(byte: u16, bit: Option<u8>) -> Self {
        Self {
            field: Some(Field {
                in_cdb: true,
                byte,
                bit,
            }),
            ..Self::plain(ILLEGAL_REQUEST, 0x24, 0x00)
        }
    }

    /// INVALID FIELD IN PARAMETER LIST, with a pointer to the field.
    pub(crate) const fn invalid_parameter(byte: u16, bit: Option<u8>) -> Self {
        Self {
            field: Some(Field {
                in_cdb: false,
                byte,
                bit,
            }),
            ..Self::plain(ILLEGAL_REQUEST, 0x26, 0x00)
        }
    }

    /// LOGICAL BLOCK ADDRESS OUT OF RANGE; `lba` is the first one beyond.
    pub(crate) const fn out_of_range(lba: u64) -> Self {
        Self {
            information: Some(lba),
            ..Self::plain(ILLEGAL_REQUEST, 0x21, 0x00)
        }
    }

    /// MISCOMPARE DURING VERIFY OPERATION: in which block (VERIFY), or at which byte of what the initiator
    /// sent (COMPARE AND WRITE).
    pub(crate) const fn miscompare(place: u64) -> Self {
        Self {
            information: Some(place),
            ..Self::plain(MISCOMPARE, 0x1d, 0x00)
        }
    }

    /// What the backend's error means to the initiator.
    pub(crate) fn of_block_error(error: &BlockError, op: Op, block_size: u32) -> Self {
        match error {
            BlockError::OutOfRange => Self::plain(ILLEGAL_REQUEST, 0x21, 0x00),
            BlockError::ReadOnly => Self::WRITE_PROTECTED,
            BlockError::Cancelled => Self::plain(ABORTED_COMMAND, 0x00, 0x00),
            // SPACE ALLOCATION FAILED WRITE PROTECT: the thin provisioning resource is used up.
            BlockError::NoSpace => Self::plain(DATA_PROTECT, 0x27, 0x07),
            BlockError::Io { offset, .. } => {
                // UNRECOVERED READ ERROR or WRITE ERROR.
                let asc = if op == Op::Read { 0x11 } else { 0x0c };
                let information = offset.map(|offset| offset / u64::from(block_size.max(1)));
                Self {
                    information,
                    ..Self::plain(MEDIUM_ERROR, asc, 0x00)
                }
            }
        }
    }

    /// The sense data as REQUEST SENSE returns them: fixed format (18 bytes), or descriptor format.
    pub(crate) fn encode(&self, descriptor: bool) -> Vec<u8> {
        if descriptor {
            self.encode_descriptors()
        } else {
            self.encode_fixed()
        }
    }

    fn encode_fixed(&self) -> Vec<u8> {
        let mut bytes = [0; 18];
        bytes[0] = 0x70;
        bytes[2] = self.key;
        bytes[7] = 10;
        bytes[12] = self.code.0;
        bytes[13] = self.code.1;
        // INFORMATION has 32 bits here: a larger address is not valid in this format.
        if let Some(Ok(information)) = self.information.map(u32::try_from) {
            bytes[0] |= 0x80;
            bytes[3..7].copy_from_slice(&information.to_be_bytes());
        }
        if let Some(field) = self.field {
            bytes[15..18].copy_from_slice(&field.encode());
        }
        bytes.to_vec()
    }

    fn encode_descriptors(&self) -> Vec<u8> {
        let mut descriptors = Vec::new();
        if let Some(information) = self.information {
            descriptors.extend([0x00, 0x0a, 0x80, 0x00]);
            descriptors.extend(information.to_be_bytes());
        }
        if let Some(field) = self.field {
            descriptors.extend([0x02, 0x06, 0x00, 0x00]);
            descriptors.extend(field.encode());
            descriptors.push(0);
        }
        let length = u8::try_from(descriptors.len()).unwrap_or(u8::MAX);
        let mut bytes = vec![0x72, self.key, self.code.0, self.code.1, 0, 0, 0, length];
        bytes.extend(descriptors);
        bytes
    }
}

impl Field {
    /// SKSV, C/D, BPV, bit pointer; field pointer.
    fn encode(self) -> [u8; 3] {
        let bit = self.bit.map_or(0, |bit| 0x08 | (bit & 7));
        let [high, low] = self.byte.to_be_bytes();
        [0x80 | u8::from(self.in_cdb) << 6 | bit, high, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_format() {
        let sense = Sense::out_of_range(0x0102_0304).encode(false);
        assert_eq!(
            sense,
            [0xf0, 0, 5, 1, 2, 3, 4, 10, 0, 0, 0, 0, 0x21, 0, 0, 0, 0, 0]
        );
        let sense = Sense::invalid_field(2, Some(5)).encode(false);
        assert_eq!(
            sense,
            [
                0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xcd, 0, 2
            ]
        );
        let sense = Sense::invalid_parameter(0x102, None).encode(false);
        assert_eq!(sense[12..], [0x26, 0, 0, 0x80, 1, 2]);
    }

    #[test]
    fn an_address_that_does_not_fit_is_not_valid() {
        let sense = Sense::out_of_range(1 << 32).encode(false);
        assert_eq!((sense[0], &sense[3..7]), (0x70, [0; 4].as_slice()));
    }

    #[test]
    fn descriptor_format() {
        let sense = Sense::out_of_range(0x1_0000_0002).encode(true);
        let expected = [
            0x72, 5, 0x21, 0, 0, 0, 0, 12, 0, 10, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 2,
        ];
        assert_eq!(sense, expected);
        let sense = Sense::invalid_field(1, None).encode(true);
        assert_eq!(
            sense,
            [0x72, 5, 0x24, 0, 0, 0, 0, 8, 2, 6, 0, 0, 0xc0, 0, 1, 0]
        );
    }

    #[test]
    fn backend_errors() {
        let io = |offset| BlockError::Io {
            offset,
            source: std::io::Error::from_raw_os_error(5),
        };
        let read = Sense::of_block_error(&io(Some(5 * 512 + 7)), Op::Read, 512);
        assert_eq!(
            (read.key, read.code, read.information),
            (3, (0x11, 0), Some(5))
        );
        let write = Sense::of_block_error(&io(None), Op::Write { fua: false }, 512);
        assert_eq!(
            (write.key, write.code, write.information),
            (3, (0x0c, 0), None)
        );
        let full = Sense::of_block_error(&BlockError::NoSpace, Op::Read, 512);
        assert_eq!((full.key, full.code), (7, (0x27, 7)));
    }
}
