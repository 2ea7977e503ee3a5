//! The harness of the end-to-end tests: a device in this process, and one in another.

pub mod guest;
pub mod in_process;
