//! The harness of the end-to-end tests: the device in this process and in another, over each front, and a guest's hands.
//!
//! It is for tests, so it panics where something does not work that the test relies on.

pub mod confine;
pub mod emulator;
pub mod front;
pub mod guest;
pub mod in_process;
pub mod judge;
pub mod place;
pub mod process;
pub mod random;
pub mod registers;
pub mod terminal;

use std::time::Duration;

/// How long a test waits for something that should come at once, before it says that it never will.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// README's program compiles as it stands there.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
