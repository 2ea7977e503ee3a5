//! Step 9, block: whether a qcow2 image counts its own tables as in use. An image that does not would have them
//! overwritten by the next cluster that is allocated ("Reference count tables and blocks" of the specification).

use std::fs::File;

use super::{FormatError, Header, OFFSET, corrupt, read};

/// Checks the header, the L1 table and the refcount table in full. Of L2 tables and refcount blocks, of which there can be very many,
/// only that there is a place where they are counted.
pub(super) fn check(
    file: &File,
    header: &Header,
    l1: &[u64],
    refcounts: &[u64],
) -> Result<(), FormatError> {
    let counts = Counts {
        file,
        header,
        blocks: refcounts,
    };
    let tables = [
        ("header", 0, 1),
        ("L1 table", header.l1_offset, header.l1_entries * 8),
        (
            "refcount table",
            header.refcount_offset,
            header.refcount_clusters << header.cluster_bits,
        ),
    ];
    let cluster = 1 << header.cluster_bits;
    for (name, offset, length) in tables {
        for at in (offset..offset + length).step_by(cluster) {
            if !counts.is_used(at >> header.cluster_bits)? {
                return Err(corrupt(format!("its refcounts leave out its {name}")));
            }
        }
    }
    for (name, table) in [("L2 table", l1), ("refcount block", refcounts)] {
        let missing = |entry: &&u64| {
            let offset = **entry & OFFSET;
            offset != 0 && counts.block(offset >> header.cluster_bits).is_none()
        };
        if let Some(entry) = table.iter().find(missing) {
            let at = entry & OFFSET;
            return Err(corrupt(format!(
                "its refcounts leave out the {name} at byte {at}"
            )));
        }
    }
    Ok(())
}

/// The refcounts of an image.
struct Counts<'a> {
    file: &'a File,
    header: &'a Header,
    /// Entries of the refcount table.
    blocks: &'a [u64],
}

impl Counts<'_> {
    /// Clusters that one block counts.
    fn per_block(&self) -> u64 {
        8 << self.header.cluster_bits >> self.header.refcount_order
    }

    /// Where the block is that counts this cluster.
    fn block(&self, cluster: u64) -> Option<u64> {
        let index = usize::try_from(cluster / self.per_block()).ok()?;
        let offset = self.blocks.get(index)? & OFFSET;
        (offset != 0).then_some(offset)
    }

    /// Whether this cluster's count is not zero.
    fn is_used(&self, cluster: u64) -> Result<bool, FormatError> {
        let Some(block) = self.block(cluster) else {
            return Ok(false);
        };
        let bit = (cluster % self.per_block()) << self.header.refcount_order;
        let width = 1_u32 << self.header.refcount_order;
        let mut bytes = [0; 8];
        let bytes = bytes.get_mut(..(width as usize).div_ceil(8));
        let bytes = bytes.unwrap_or_default();
        read(self.file, bytes, block + bit / 8)?;
        Ok(match bytes {
            // Counts of less than a byte lie side by side, the first in the lowest bits.
            [byte] => u32::from(*byte) >> (bit % 8) & ((1 << width) - 1) != 0,
            bytes => bytes.iter().any(|byte| *byte != 0),
        })
    }
}
