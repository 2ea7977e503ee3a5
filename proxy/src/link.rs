//! Step 3, port: the ways to an emulator.
//!
//! [`ring`] is the fast data path, shared memory. [`socket`] is the control connection and, where
//! there are no rings, the data path.

pub(crate) mod ring;
pub(crate) mod socket;
