//! What the fuzz targets share. A target is a function of an input: it panics when something is wrong.
//!
//! A program of `fuzz/targets/` hands libFuzzer's inputs to [`watched`]. A test of `fuzz/tests/` hands the committed
//! corpus to [`replay()`], with debug assertions and without libFuzzer. `docs/fuzzing.md` says how to run either.

mod input;
mod meanwhile;
mod replay;
mod watch;

pub use input::Input;
pub use meanwhile::meanwhile;
pub use replay::replay;
pub use watch::{CountingAllocator, watched};

/// Its name, which is also its corpus's and its program's, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));
