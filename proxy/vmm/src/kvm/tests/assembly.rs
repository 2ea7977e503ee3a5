//! The few instructions that the tests' guests are made of.

use crate::guest::layout::port;

/// A program for 32-bit protected mode.
#[derive(Debug, Default)]
pub(super) struct Assembly(pub(super) Vec<u8>);

impl Assembly {
    /// Where the next instruction will be, from the start.
    pub(super) fn here(&self) -> usize {
        self.0.len()
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// An instruction that ends in a word.
    pub(super) fn word(&mut self, opcode: &[u8], word: u32) -> &mut Self {
        self.bytes(opcode).bytes(&word.to_le_bytes())
    }

    /// `mov al, value; out port, al`
    pub(super) fn out(&mut self, port: u8, value: u8) -> &mut Self {
        self.bytes(&[0xb0, value, 0xe6, port])
    }

    /// Reports EAX.
    pub(super) fn report(&mut self) -> &mut Self {
        let [low, high] = port::REPORT.to_le_bytes();
        self.bytes(&[0x66, 0xba, low, high, 0xef])
    }

    /// A jump back, not far: 0xeb always, 0x75 if not zero.
    pub(super) fn back(&mut self, opcode: u8, to: usize) -> &mut Self {
        let distance = u8::try_from(self.here() + 2 - to).unwrap();
        assert!(distance <= 0x80);
        self.bytes(&[opcode, distance.wrapping_neg()])
    }
}
