//! Step 3, port, and step 5, intake: the vfio-user wire format, as both sides of Outrigger speak it.
//!
//! A message is a 16-byte header and a payload, little-endian, on a UNIX stream socket; file
//! descriptors travel beside it. Three layers, each usable without the ones after it:
//!
//! - [`Message`]: a view of bytes whose lengths have been checked;
//! - [`Request`] and [`Reply`]: values. `parse` turns a message into a value, `emit` a value into bytes;
//! - [`Receiver`] and [`Sender`]: framing, with the descriptors, on blocking and on non-blocking sockets.
//!
//! # What a peer can do
//! Any bytes may arrive. Nothing here panics on them: a length, count or kind that does not fit is a
//! [`WireError`]. Commands, flag bits and indices that this crate does not know are kept as they are, so that the
//! caller can answer them. No allocation is larger than the limit that the caller gave to
//! [`Receiver::new`], whatever a header says.
//!
//! # Example
//! ```
//! use outrigger_vfio_user::{Message, RegionRange, Reply, Request};
//!
//! let read = Request::RegionRead(RegionRange { region: 1, offset: 0x14, count: 1 });
//! let bytes = read.emit(7, false);
//! let message = Message::new(&bytes)?;
//! assert_eq!(message.header().id, 7);
//! assert_eq!(Request::parse(message)?, read);
//! # Ok::<(), outrigger_vfio_user::WireError>(())
//! ```

mod access_map;
mod device;
mod dma;
mod error;
mod irq;
mod layout;
mod message;
mod region;
mod reply;
mod request;
mod stream;
mod vendor;
mod version;

pub use access_map::{AccessEntry, AccessMap, Treatment};
pub use device::{DeviceFlags, DeviceInfo};
pub use dma::{DmaData, DmaMap, DmaMapFlags, DmaRange, DmaUnmap, DmaUnmapFlags};
pub use error::WireError;
pub use irq::{IrqInfo, IrqInfoFlags, IrqSetFlags, SetIrqs};
pub use message::{Command, HEADER_SIZE, Header, HeaderFlags, Kind, Message};
pub use region::{RegionData, RegionFlags, RegionInfo, RegionQuery, RegionRange, RegionWriteEntry};
pub use reply::Reply;
pub use request::Request;
pub use stream::{MAX_FDS, ReceiveError, Received, Receiver, Sender, Wait, hang_up, send};
pub use vendor::{RingDoorbells, RingReady, RingSetup};
pub use version::{Capabilities, RingCapability, Version};
