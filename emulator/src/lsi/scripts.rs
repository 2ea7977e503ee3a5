//! Step 7, SCRIPTS: the chip's own instruction set, from the two Dwords in memory to their effect.

mod decode;
mod disassemble;
mod execute;
mod fetch;
mod instruction;

pub use disassemble::disassemble;
pub(super) use execute::{Processor, State};
pub use instruction::{
    Addressing, BlockMove, Condition, DataCompare, Instruction, Io, IoOperation, LoadStore,
    MemoryMove, Operator, RegisterMove, RegisterOperation, Signals, TransferControl,
    TransferOperation,
};
