//! What runs inside the virtual machine: a driver of the LSI 53C895A, its SCRIPTS, and their places in guest RAM.

pub mod assembler;
pub mod layout;
pub mod queues;
pub mod registers;
pub mod scripts;

pub(crate) mod program;
