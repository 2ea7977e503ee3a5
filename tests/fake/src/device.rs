//! The memory behind the fake device's regions.

/// What region accesses reach, on either way.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) memory: Vec<Vec<u8>>,
    pub(crate) writes: Vec<(u32, u64, Vec<u8>, bool)>,
}

impl Device {
    pub(crate) fn bytes(&mut self, region: u32, offset: u64, count: usize) -> Option<&mut [u8]> {
        let start = usize::try_from(offset).ok()?;
        let region = self.memory.get_mut(region as usize)?;
        region.get_mut(start..start.checked_add(count)?)
    }

    pub(crate) fn write(&mut self, region: u32, offset: u64, data: &[u8], waits: bool) {
        self.writes.push((region, offset, data.to_vec(), waits));
        if let Some(bytes) = self.bytes(region, offset, data.len()) {
            bytes.copy_from_slice(data);
        }
    }
}
