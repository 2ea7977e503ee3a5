//! Where things lie in the shared memories, as `docs/ring-protocol.md` has it: a peer has nothing else to go by.

/// Channels of a session.
pub(crate) const CHANNELS: u32 = 2;
/// Slots of each ring.
pub(crate) const SLOTS: u32 = 16;
/// Registers in the mirror.
pub(crate) const REGISTERS: u32 = 3;
/// Bytes of the mirror.
pub(crate) const MIRROR_BYTES: u32 = 64 * REGISTERS;

/// Bytes of the requests memory: a page of flags, two rings.
pub(crate) const REQUESTS_SIZE: usize = 4096 + 4096;
/// Bytes of the mailboxes memory.
pub(crate) const MAILBOXES_SIZE: usize = 4096;
/// Bytes of the device memory: a page of counters, the mirror.
pub(crate) const DEVICE_SIZE: usize = 4096 + 4096;

/// The worker's flag, in the device memory.
pub(crate) const WORKER_FLAG: usize = 128;
/// The mirror, in the device memory.
pub(crate) const MIRROR: usize = 4096;

/// A channel's flag, in the requests memory.
pub(crate) const fn client_flag(channel: usize) -> usize {
    128 + 128 * channel
}

/// A slot, in the requests memory.
pub(crate) fn slot(channel: usize, position: u64) -> usize {
    let slots = usize::try_from(SLOTS).expect("a few");
    let index = usize::from(position.to_le_bytes()[0]) % slots;
    4096 + (channel * slots + index) * 64
}

/// A channel's mailbox, in the mailboxes memory.
pub(crate) const fn mailbox(channel: usize) -> usize {
    128 + 128 * channel
}

/// A read-to-clear group's word, in the mailboxes memory.
pub(crate) const fn clear_group(group: usize) -> usize {
    128 + 128 * CHANNELS as usize + 64 * group
}

/// A channel's consumed counter, in the device memory.
pub(crate) const fn consumed(channel: usize) -> usize {
    384 + 128 * channel
}

/// The header of a memory.
pub(crate) fn header(magic: &[u8; 8], mirror_bytes: u32, size: usize) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..8].copy_from_slice(magic);
    for (at, field) in [(8, 1), (12, CHANNELS), (16, SLOTS), (20, mirror_bytes)] {
        bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(field));
    }
    bytes[24..32].copy_from_slice(&(size as u64).to_le_bytes());
    bytes
}
