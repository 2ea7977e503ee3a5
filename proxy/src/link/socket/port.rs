//! Step 3, port: a vCPU's accesses as messages.

use std::sync::Arc;

use outrigger_ring::Access;
use outrigger_vfio_user::{RegionData, RegionRange, Reply, Request};

use super::{Connection, RequestError};
use crate::port::{Port, PortError};

/// A port over the control connection. All vCPUs share it and wait for each other; the stream keeps
/// all their accesses in one order, so that a read sees every write posted before it.
#[derive(Debug)]
pub(crate) struct SocketPort {
    connection: Arc<Connection>,
}

impl SocketPort {
    pub(crate) const fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }
}

/// The value that an access has where the device answers with an error: it aborts, as a bus does.
fn aborted(access: Access, error: RequestError) -> Result<u64, PortError> {
    match error {
        RequestError::Dead(error) => Err(error),
        RequestError::Refused { command, errno } => {
            tracing::debug!(?access, %command, errno, "the device refused an access");
            Ok(access.width.mask())
        }
    }
}

impl Port for SocketPort {
    fn read(&mut self, access: Access) -> Result<u64, PortError> {
        let Access {
            region,
            offset,
            width,
        } = access;
        let range = RegionRange {
            region: region.into(),
            offset,
            count: width.bytes().into(),
        };
        let answer = match self.connection.request(&Request::RegionRead(range), &[], 0) {
            Ok(answer) => answer,
            Err(error) => return aborted(access, error),
        };
        if let Ok(Reply::RegionRead(read)) = answer.reply() {
            let mut bytes = [0; 8];
            if read.region == range.region
                && read.offset == offset
                && read.data.len() == usize::from(width.bytes())
                && let Some(into) = bytes.get_mut(..read.data.len())
            {
                into.copy_from_slice(read.data);
                return Ok(u64::from_le_bytes(bytes));
            }
        }
        let error = self.connection.corrupt(format!(
            "REGION_READ was answered with another range than {access:?}"
        ));
        aborted(access, error)
    }

    fn post(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        let bytes = value.to_le_bytes();
        self.connection
            .post(&write(access, &bytes))
            .or_else(|error| aborted(access, error).map(drop))
    }

    fn write(&mut self, access: Access, value: u64) -> Result<(), PortError> {
        let bytes = value.to_le_bytes();
        let answer = match self.connection.request(&write(access, &bytes), &[], 0) {
            Ok(answer) => answer,
            Err(error) => return aborted(access, error).map(drop),
        };
        let Access {
            region,
            offset,
            width,
        } = access;
        let expected = RegionRange {
            region: region.into(),
            offset,
            count: width.bytes().into(),
        };
        if answer
            .reply()
            .is_ok_and(|reply| reply == Reply::RegionWrite(expected))
        {
            return Ok(());
        }
        let error = self.connection.corrupt(format!(
            "REGION_WRITE was answered with another range than {access:?}"
        ));
        aborted(access, error).map(drop)
    }
}

/// The request for a write of the value whose little-endian bytes are these.
fn write(access: Access, bytes: &[u8; 8]) -> Request<'_> {
    let Access {
        region,
        offset,
        width,
    } = access;
    let data = bytes.get(..usize::from(width.bytes())).unwrap_or_default();
    Request::RegionWrite(RegionData {
        region: region.into(),
        offset,
        data,
    })
}
