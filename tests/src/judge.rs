//! An independent judge of the chip: QEMU's model of it does the same, and each difference has a known reason.
//!
//! ```text
//! generate ──> program ──┬──> ours (in this process)          ──┐
//!                        └──> qtest (QEMU, through a socket)  ──┴──> compare ──> known ──> a table, or a new difference
//!                                                                                               │
//!                                                            the smallest program that shows it <── shrink
//! ```

pub mod bench;
pub mod chip;
pub mod commands;
pub mod compare;
pub mod generate;
pub mod known;
pub mod ours;
pub mod program;
pub mod qtest;
pub mod tally;
pub mod units;
