//! The structures as they lie in a message: byte views, unaligned, little-endian.
//!
//! The sizes are the protocol's and asserted here; the meaning of the fields stands with the values.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::WireError;

macro_rules! layout {
    ($(#[$doc:meta])* $name:ident, $size:literal, { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
        #[repr(C)]
        pub(crate) struct $name { $(pub(crate) $field: $type),* }
        const _: () = assert!(size_of::<$name>() == $size);
    };
}

layout!(HeaderBytes, 16, { id: U16, command: U16, size: U32, flags: U32, error: U32 });
layout!(VersionBytes, 4, { major: U16, minor: U16 });
layout!(DmaMapBytes, 32, { argsz: U32, flags: U32, offset: U64, address: U64, size: U64 });
layout!(DmaUnmapBytes, 24, { argsz: U32, flags: U32, address: U64, size: U64 });
layout!(DmaAccessBytes, 16, { address: U64, count: U64 });
layout!(
    /// DEVICE_GET_INFO's and DEVICE_GET_IRQ_INFO's shape: `third` and `fourth` differ in meaning.
    InfoBytes, 16, { argsz: U32, flags: U32, third: U32, fourth: U32 });
layout!(RegionInfoBytes, 32,
    { argsz: U32, flags: U32, index: U32, cap_offset: U32, size: U64, offset: U64 });
layout!(RegionAccessBytes, 16, { offset: U64, region: U32, count: U32 });
layout!(SetIrqsBytes, 20, { argsz: U32, flags: U32, index: U32, start: U32, count: U32 });
layout!(WriteMultiBytes, 8, { count: U64 });
layout!(WriteEntryBytes, 24, { offset: U64, region: U32, count: U32, data: [u8; 8] });
layout!(RingSetupBytes, 16, { version: U32, channels: U32, slots: U32, reserved: U32 });
layout!(RingReadyBytes, 8, { version: U32, mirror_bytes: U32 });
layout!(RingDoorbellsBytes, 8, { first: U32, count: U32 });
layout!(AccessMapBytes, 8, { count: U32, reserved: U32 });
layout!(AccessEntryBytes, 32,
    { kind: U32, region: U32, offset: U64, size: U64, first: U32, second: U32 });

/// The structure at the start of `bytes`, and what follows it.
pub(crate) fn head<'a, T>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<(&'a T, &'a [u8]), WireError>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    T::ref_from_prefix(bytes).map_err(|_| WireError::Truncated {
        what,
        needed: size_of::<T>(),
        have: bytes.len(),
    })
}

/// The structure that `bytes` are, exactly.
pub(crate) fn whole<'a, T>(what: &'static str, bytes: &'a [u8]) -> Result<&'a T, WireError>
where
    T: FromBytes + KnownLayout + Immutable + Unaligned,
{
    let (value, rest) = head(what, bytes)?;
    empty(what, rest)?;
    Ok(value)
}

/// Nothing is left.
pub(crate) fn empty(what: &'static str, rest: &[u8]) -> Result<(), WireError> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err(WireError::Trailing {
            what,
            extra: rest.len(),
        })
    }
}

/// A length as the 32-bit count that the wire has for it. Longer data cannot be expressed: the receiver sees a count that does not match and refuses it.
pub(crate) fn count(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
