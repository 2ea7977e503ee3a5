//! Step 1, guest exit, the other side: the guest's program, as bytes for guest RAM.
//!
//! 32-bit flat protected mode, integer instructions only, position-independent except for the fixed places of
//! [`layout`](super::layout). The host never runs it.

mod sys;

/// A program that is ready to be copied to [`CODE`](super::layout::CODE).
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuestProgram {
    /// The bytes.
    pub(crate) bytes: &'static [u8],
    /// Where each vCPU begins, from the program's start; EAX is the vCPU's number.
    pub(crate) start: u32,
    /// The device's interrupt handler.
    pub(crate) interrupt: u32,
    /// The handler of interrupts that are not expected.
    pub(crate) spurious: u32,
    /// The handler of exceptions.
    pub(crate) exception: u32,
}

impl GuestProgram {
    /// The driver.
    pub(crate) fn driver() -> Self {
        Self::parse(sys::bytes())
    }

    /// A loop without exits and without end.
    #[cfg(test)]
    pub(crate) fn spin() -> Self {
        // jmp $
        Self {
            bytes: &[0xeb, 0xfe],
            start: 0,
            interrupt: 0,
            spurious: 0,
            exception: 0,
        }
    }

    /// The program begins with a header of four words: the offsets.
    fn parse(bytes: &'static [u8]) -> Self {
        let word = |index: usize| {
            bytes
                .chunks_exact(4)
                .nth(index)
                .and_then(|word| word.try_into().ok())
                .map_or(0, u32::from_le_bytes)
        };
        Self {
            bytes,
            start: word(0),
            interrupt: word(1),
            spurious: word(2),
            exception: word(3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_points_into_the_program() {
        let program = GuestProgram::driver();
        let length = u32::try_from(program.bytes.len()).unwrap();
        assert!(length < 0x4000);
        for offset in [
            program.start,
            program.interrupt,
            program.spurious,
            program.exception,
        ] {
            assert!((16..length).contains(&offset), "{offset:#x}");
        }
        // add esp, 12
        assert_eq!(
            program.bytes[usize::try_from(program.spurious).unwrap()..][..3],
            [0x83, 0xc4, 0x0c]
        );
    }
}
