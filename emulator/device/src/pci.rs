//! Step 6, PCI: once for all devices. Type 0 config space, BAR sizing and decode, COMMAND, INTx, bus mastering.
//!
//! `config_space` holds the 256 bytes and knows which bits a guest can write; `function` puts a
//! device and its way to guest RAM behind them.

mod config_space;
mod function;

pub use function::{CONFIG_REGION, Function, Region};
