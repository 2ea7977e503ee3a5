//! Step 9, block: an aligned buffer for O_DIRECT, where guest RAM is not aligned.

/// What O_DIRECT may ask of memory at most.
const ALIGNMENT: usize = 4096;

/// The most that goes through a bounce buffer in one call; a multiple of any O_DIRECT alignment. Every request in
/// flight may have one.
pub(super) const MAX_BOUNCE: usize = 256 << 10;

/// A page-aligned buffer of at most [`MAX_BOUNCE`] bytes.
#[derive(Debug)]
pub(super) struct Bounce {
    /// Never grown: its place on the heap is fixed.
    room: Vec<u8>,
    start: usize,
    length: usize,
}

impl Bounce {
    pub(super) fn new(length: usize) -> Self {
        let length = length.min(MAX_BOUNCE);
        let room = vec![0; length + ALIGNMENT];
        let start = room.as_ptr().addr().next_multiple_of(ALIGNMENT) - room.as_ptr().addr();
        Self {
            room,
            start,
            length,
        }
    }

    /// Its first `count` bytes, or all.
    pub(super) fn bytes(&mut self, count: usize) -> &mut [u8] {
        let end = self.start + count.min(self.length);
        self.room.get_mut(self.start..end).unwrap_or_default()
    }
}
