//! The demo and the measurements, and what they share: reports, plots, disk images, counters.

#[macro_use]
pub mod say;

pub mod bench;
pub mod cdbs;
pub mod chip;
pub mod counts;
pub mod demo;
pub mod density;
mod front;
pub mod guest;
pub mod image;
mod narrator;
mod noise;
pub mod plot;
mod reads;
pub mod report;
pub mod spent;
mod table;
