//! Step 8, SCSI: READ BUFFER and WRITE BUFFER (SPC-3 sections 6.15 and 6.35): memory to try the bus with.

use crate::scsi::cdb::BufferAccess;
use crate::scsi::sense::Sense;

/// Bytes of the data buffer, and of the echo buffer.
const SIZE: u32 = 4096;
/// Bytes of the header in combined mode.
const HEADER: u32 = 4;

/// A header, then data from the beginning of buffer 0 (SCSI-2 sections 8.2.12 and 8.2.17).
const COMBINED: u8 = 0x00;
const DATA: u8 = 0x02;
const DESCRIPTOR: u8 = 0x03;
const ECHO_DESCRIPTOR: u8 = 0x0b;

/// The buffers; empty ones take no memory.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Buffer 0, as far as it has been written: zeroes follow.
    data: Vec<u8>,
    /// What was last written to be echoed.
    echo: Option<Vec<u8>>,
}

impl Buffer {
    /// The answer to READ BUFFER.
    pub(super) fn read(&self, access: BufferAccess) -> Result<Vec<u8>, Sense> {
        match access.mode {
            COMBINED => {
                check_combined(access)?;
                let mut bytes = SIZE.to_be_bytes().to_vec();
                bytes.extend(&self.data);
                bytes.resize((HEADER + SIZE) as usize, 0);
                Ok(bytes)
            }
            DATA => {
                check_data(access, SIZE.saturating_sub(access.offset))?;
                let mut bytes = self.data.clone();
                bytes.resize(SIZE as usize, 0);
                Ok(bytes.split_off(access.offset as usize))
            }
            // Offset boundary 1; no capacity for buffers that there are not.
            DESCRIPTOR => {
                let capacity = if access.id == 0 { SIZE } else { 0 };
                Ok(capacity.to_be_bytes().to_vec())
            }
            ECHO_DESCRIPTOR => Ok(SIZE.to_be_bytes().to_vec()),
            _ => self.echo.clone().ok_or(Sense::SEQUENCE),
        }
    }

    /// Whether WRITE BUFFER may write there.
    pub(super) fn check_write(access: BufferAccess) -> Result<(), Sense> {
        if access.mode == DATA {
            return check_data(access, access.length);
        }
        let mut most = SIZE;
        if access.mode == COMBINED {
            check_combined(access)?;
            most += HEADER;
        }
        if access.length > most {
            return Err(Sense::invalid_field(6, None));
        }
        Ok(())
    }

    /// The bytes of WRITE BUFFER have come.
    pub(super) fn write(&mut self, access: BufferAccess, bytes: &[u8]) {
        let bytes = match access.mode {
            DATA => bytes,
            COMBINED => bytes.get(HEADER as usize..).unwrap_or_default(),
            _ => {
                self.echo = Some(bytes.to_vec());
                return;
            }
        };
        self.data.resize(SIZE as usize, 0);
        let place = self.data.iter_mut().skip(access.offset as usize);
        for (to, from) in place.zip(bytes) {
            *to = *from;
        }
    }
}

/// Buffer and offset are not chosen.
fn check_combined(access: BufferAccess) -> Result<(), Sense> {
    if access.id != 0 {
        return Err(Sense::invalid_field(2, None));
    }
    if access.offset != 0 {
        return Err(Sense::invalid_field(3, None));
    }
    Ok(())
}

/// `length` bytes at the offset are in the buffer.
fn check_data(access: BufferAccess, length: u32) -> Result<(), Sense> {
    if access.id != 0 {
        return Err(Sense::invalid_field(2, None));
    }
    if access.offset > SIZE {
        return Err(Sense::invalid_field(3, None));
    }
    if length > SIZE - access.offset {
        return Err(Sense::invalid_field(6, None));
    }
    Ok(())
}
