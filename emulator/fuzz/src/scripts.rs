//! The decoder of SCRIPTS instructions.

use outrigger_emulator::lsi::scripts::{Instruction, disassemble};
use outrigger_fuzz::Input;

/// Decodes instructions, encodes what came of them, and decodes that again.
///
/// # Panics
/// If the second one is another.
pub fn run(input: &[u8]) {
    let mut input = Input::new(input);
    while !input.is_empty() {
        let words = [input.u32(), input.u32()];
        let instruction = Instruction::decode(words);
        assert_eq!(Instruction::decode(instruction.encode()), instruction);
        assert!(!disassemble(instruction).is_empty());
    }
}
