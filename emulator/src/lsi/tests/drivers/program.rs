//! A script with labels, as drivers' assemblers know them.

use std::collections::HashMap;

use super::super::Rig;

/// Instructions from a base address on; references to labels are filled in when all of it is there.
#[derive(Debug)]
pub(super) struct Program {
    base: u32,
    words: Vec<u32>,
    labels: HashMap<&'static str, u32>,
    references: Vec<(usize, &'static str, Reference)>,
}

#[derive(Clone, Copy, Debug)]
enum Reference {
    Absolute,
    /// Of the second Dword there.
    Operand,
    /// To the instruction behind the word.
    Relative,
}

/// Bit 23 of a transfer control instruction.
const TRANSFER_RELATIVE: u32 = 1 << 23;
/// Bit 26 of an I/O instruction.
const IO_RELATIVE: u32 = 1 << 26;

impl Program {
    pub(super) fn at(base: u32) -> Self {
        Self {
            base,
            words: Vec::new(),
            labels: HashMap::new(),
            references: Vec::new(),
        }
    }

    fn here(&self) -> u32 {
        self.base + 4 * u32::try_from(self.words.len()).expect("short")
    }

    /// The next instruction's name.
    pub(super) fn label(&mut self, name: &'static str) {
        let here = self.here();
        assert_eq!(self.labels.insert(name, here), None, "{name} twice");
    }

    pub(super) fn put(&mut self, words: &[u32]) {
        self.words.extend(words);
    }

    /// An instruction whose second Dword is a label's address.
    pub(super) fn to(&mut self, [first, _]: [u32; 2], name: &'static str) {
        self.words.push(first);
        self.refer(name, Reference::Absolute);
    }

    /// The same with the distance to the label.
    pub(super) fn rel(&mut self, [first, _]: [u32; 2], name: &'static str) {
        let io = first >> 30 == 1;
        self.words
            .push(first | if io { IO_RELATIVE } else { TRANSFER_RELATIVE });
        self.refer(name, Reference::Relative);
    }

    fn refer(&mut self, name: &'static str, reference: Reference) {
        self.references.push((self.words.len(), name, reference));
        self.words.push(0);
    }

    /// A memory move to the second Dword of the instruction at a label.
    pub(super) fn copy_to_operand(&mut self, source: u32, name: &'static str) {
        self.put(&[0xc000_0004, source]);
        self.refer(name, Reference::Operand);
    }

    pub(super) fn address(&self, name: &str) -> u32 {
        self.labels[name]
    }

    /// The Dwords, with all references filled in.
    pub(super) fn words(&self) -> Vec<u32> {
        let mut words = self.words.clone();
        for &(index, name, reference) in &self.references {
            let target = *self.labels.get(name).unwrap_or_else(|| panic!("no {name}"));
            words[index] = match reference {
                Reference::Absolute => target,
                Reference::Operand => target + 4,
                Reference::Relative => {
                    let next = self.base + 4 * u32::try_from(index + 1).expect("short");
                    target.wrapping_sub(next) & 0x00ff_ffff
                }
            };
        }
        words
    }

    /// Writes it to guest RAM.
    pub(super) fn load(&self, rig: &Rig) {
        rig.poke32(self.base, &self.words());
    }
}
