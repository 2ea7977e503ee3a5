//! Step 3, port: the ways to an emulator.
//!
//! [`socket`] is the control connection and, where there are no rings, the data path.

pub(crate) mod socket;
