//! Step 8, SCSI: reservations, persistent (SPC-3 sections 5.6, 6.11 and 6.12) and not (SPC-2 section 5.5).
//!
//! The bus has one initiator. So whoever reserves also holds, and no command of its own is ever kept out; what is left
//! is to remember truthfully.

use crate::scsi::sense::Sense;
use crate::scsi::task::Phase;

/// Bytes of the parameter list of PERSISTENT RESERVE OUT.
const LIST: u32 = 24;

const REGISTER: u8 = 0;
const RESERVE: u8 = 1;
const RELEASE: u8 = 2;
const CLEAR: u8 = 3;
const REGISTER_AND_IGNORE: u8 = 6;

/// Write exclusive, exclusive access; the same for registrants only; the same for all registrants.
const TYPES: [u8; 6] = [0x1, 0x3, 0x5, 0x6, 0x7, 0x8];
/// The first of the types that every registrant holds.
const ALL_REGISTRANTS: u8 = 0x7;
/// The types, as a mask.
const TYPE_MASK: [u8; 2] = [0xea, 0x01];

/// The initiator, as it is named in full status: a parallel SCSI port (SPC-3 section 7.5.4.4), ID 7, target port 1.
const TRANSPORT_ID: [u8; 24] = [
    0x01, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// A unit's reservations.
#[derive(Debug, Default)]
pub(super) struct Reservations {
    /// By RESERVE.
    reserved: bool,
    /// The initiator's registered key; 0 if it has none.
    key: u64,
    /// Type of the persistent reservation, which the initiator holds.
    held: Option<u8>,
    generation: u32,
}

impl Reservations {
    /// A reset ends what RESERVE began; persistent reservations last until power is lost.
    pub(super) fn reset(&mut self) {
        let Self {
            reserved,
            key: _,
            held: _,
            generation: _,
        } = self;
        *reserved = false;
    }

    /// RESERVE.
    pub(super) fn reserve(&mut self) -> Phase {
        if self.key != 0 {
            return Phase::CONFLICT;
        }
        self.reserved = true;
        Phase::GOOD
    }

    /// RELEASE.
    pub(super) fn release(&mut self) -> Phase {
        if self.key != 0 {
            return Phase::CONFLICT;
        }
        self.reserved = false;
        Phase::GOOD
    }

    /// PERSISTENT RESERVE IN; `None` is a conflict.
    pub(super) fn read(&self, action: u8) -> Option<Vec<u8>> {
        if self.reserved {
            return None;
        }
        let held = self.held;
        let body = match action {
            // READ KEYS.
            0 if self.key != 0 => self.key.to_be_bytes().to_vec(),
            // READ RESERVATION. All registrants together have no key.
            1 => held.map_or_else(Vec::new, |kind| {
                let key = if kind < ALL_REGISTRANTS { self.key } else { 0 };
                let mut bytes = key.to_be_bytes().to_vec();
                bytes.extend([0, 0, 0, 0, 0, kind, 0, 0]);
                bytes
            }),
            // REPORT CAPABILITIES: TMV, and no more.
            2 => return Some(vec![0, 8, 0, 0x80, TYPE_MASK[0], TYPE_MASK[1], 0, 0]),
            // READ FULL STATUS.
            3 if self.key != 0 => {
                let mut bytes = self.key.to_be_bytes().to_vec();
                // R_HOLDER, scope and type, relative target port, length of the transport ID.
                bytes.extend([0, 0, 0, 0, u8::from(held.is_some()), held.unwrap_or(0)]);
                bytes.extend([0, 0, 0, 0, 0, 1, 0, 0, 0, 24]);
                bytes.extend(TRANSPORT_ID);
                bytes
            }
            _ => Vec::new(),
        };
        let mut bytes = self.generation.to_be_bytes().to_vec();
        bytes.extend(u32::try_from(body.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(body);
        Some(bytes)
    }

    /// PERSISTENT RESERVE OUT, before its parameter list.
    pub(super) fn begin(
        &self,
        action: u8,
        scope: u8,
        kind: u8,
        length: u32,
    ) -> Result<Phase, Sense> {
        if self.reserved {
            return Ok(Phase::CONFLICT);
        }
        // Those that change registrations only do not look at scope and type.
        if !matches!(action, REGISTER | REGISTER_AND_IGNORE | CLEAR) {
            if scope != 0 {
                return Err(Sense::invalid_field(2, Some(7)));
            }
            if !TYPES.contains(&kind) {
                return Err(Sense::invalid_field(2, Some(3)));
            }
        }
        if length != LIST {
            return Err(Sense::PARAMETER_LENGTH);
        }
        Ok(Phase::parameters(LIST as usize))
    }

    /// The parameter list of PERSISTENT RESERVE OUT has come.
    pub(super) fn take(&mut self, action: u8, kind: u8, list: &[u8]) -> Result<Phase, Sense> {
        let (Some((key, rest)), Some(flags)) = (list.split_first_chunk(), list.get(20)) else {
            return Err(Sense::PARAMETER_LENGTH);
        };
        let key = u64::from_be_bytes(*key);
        let service_key = rest
            .first_chunk()
            .map_or(0, |bytes| u64::from_be_bytes(*bytes));
        if matches!(action, REGISTER | REGISTER_AND_IGNORE) {
            // SPEC_I_PT, ALL_TG_PT, APTPL: there is one initiator and one port, and nothing outlasts a power loss.
            if let Some(bit) = [3, 2, 0].into_iter().find(|bit| flags >> bit & 1 == 1) {
                return Err(Sense::invalid_parameter(20, Some(bit)));
            }
        }
        // Whoever is not registered has only 0 to show, and may only register.
        let known = key == self.key && (self.key != 0 || action == REGISTER);
        if !known && action != REGISTER_AND_IGNORE {
            return Ok(Phase::CONFLICT);
        }
        match action {
            REGISTER | REGISTER_AND_IGNORE => {
                if self.key != 0 || service_key != 0 {
                    self.register(service_key);
                }
                Ok(Phase::GOOD)
            }
            RESERVE => match self.held {
                Some(held) if held != kind => Ok(Phase::CONFLICT),
                _ => {
                    self.held = Some(kind);
                    Ok(Phase::GOOD)
                }
            },
            RELEASE => match self.held {
                Some(held) if held != kind => Err(Sense::INVALID_RELEASE),
                _ => {
                    self.held = None;
                    Ok(Phase::GOOD)
                }
            },
            CLEAR => {
                self.register(0);
                Ok(Phase::GOOD)
            }
            // PREEMPT and PREEMPT AND ABORT.
            _ => self.preempt(kind, service_key),
        }
    }

    /// The key, or its end and that of the reservation.
    fn register(&mut self, key: u64) {
        self.key = key;
        if key == 0 {
            self.held = None;
        }
        self.generation = self.generation.wrapping_add(1);
    }

    /// The initiator can only preempt itself. There are no tasks of others to be aborted.
    fn preempt(&mut self, kind: u8, victim: u64) -> Result<Phase, Sense> {
        match self.held {
            // All the other registrants: there are none.
            Some(held) if held >= ALL_REGISTRANTS && victim == 0 => {
                self.held = Some(kind);
                self.generation = self.generation.wrapping_add(1);
            }
            _ if victim == 0 => return Err(Sense::invalid_parameter(8, None)),
            _ if victim != self.key => return Ok(Phase::CONFLICT),
            // The holder keeps its registration.
            Some(held) if held < ALL_REGISTRANTS => {
                self.held = Some(kind);
                self.generation = self.generation.wrapping_add(1);
            }
            _ => self.register(0),
        }
        Ok(Phase::GOOD)
    }
}
