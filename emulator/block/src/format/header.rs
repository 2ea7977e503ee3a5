//! Step 9, block: a look at a qcow2 image before it is trusted with a disk: what it asks for is named, and tables that the
//! file does not hold are refused. Offsets and sizes are those of the qcow2 specification, "Header" and "Refcounts".

mod refcounts;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::{FormatError, hint};

/// What the header says, as far as opening needs it.
#[derive(Debug)]
pub(super) struct Header {
    /// The disk's size in bytes.
    pub(super) size: u64,
    /// Clusters can be marked as zeroes (version 3).
    pub(super) zero_clusters: bool,
    /// A cluster's size is two to this power.
    cluster_bits: u32,
    l1_offset: u64,
    l1_entries: u64,
    refcount_offset: u64,
    refcount_clusters: u64,
    refcount_order: u32,
    /// The data are in another file.
    has_data_file: bool,
    /// The format of the backing file, of an image of version 2: imago looks for it in version 3 only.
    pub(super) backing_format: Option<String>,
}

/// The parts of the header that every version has.
const V2_LENGTH: usize = 72;
/// As far as version 3 is looked at.
const V3_LENGTH: usize = 104;
/// What helps where nothing is known of the image.
const LOOK: &str = "look at it with qemu-img info";
const MAGIC: u32 = 0x5146_49fb;
/// Bits of an L1 or L2 entry that are an offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// The limits of the specification's implementations: 32 MiB of L1 table, 8 MiB of refcount table.
const MAX_L1_BYTES: u64 = 32 << 20;
const MAX_REFCOUNT_BYTES: u64 = 8 << 20;

/// Incompatible features, by bit: what they mean for a user, and what helps.
const FEATURES: [(u32, &str, Mend); 4] = [
    (0, "it was not closed cleanly", Mend::Repair),
    (1, "it is marked as corrupt", Mend::Repair),
    (3, "it is compressed by zstd", Mend::Convert),
    (4, "it has extended L2 entries", Mend::Convert),
];
/// The incompatible feature that is known: the data are in another file.
const DATA_FILE: u32 = 2;

/// What helps against a feature.
#[derive(Clone, Copy)]
enum Mend {
    Repair,
    Convert,
}

fn corrupt(what: impl Into<String>) -> FormatError {
    FormatError::Corrupt(what.into())
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let piece = bytes.get(at..at + N).and_then(|it| it.try_into().ok());
    piece.unwrap_or([0; N])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(number(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(number(bytes, at))
}

/// Fills `bytes` from `offset` on, with zeroes beyond the file's end.
fn read(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => {
                rest.fill(0);
                return Ok(());
            }
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether all these bytes are a hole in the file, which reads as zeroes. Where nobody can tell, they are not.
fn is_hole(file: &File, offset: u64, length: u64) -> bool {
    match seek(file, SeekFrom::Data(offset)) {
        Ok(data) => data >= offset.saturating_add(length),
        // No more data up to the end.
        Err(error) => error == Errno::NXIO,
    }
}

/// Reads `entries` big-endian words.
fn read_table(file: &File, offset: u64, entries: u64) -> Result<Vec<u64>, FormatError> {
    let length = usize::try_from(entries * 8).map_err(|_| corrupt("a table is too large"))?;
    let mut bytes = vec![0; length];
    read(file, &mut bytes, offset)?;
    let (words, _) = bytes.as_chunks::<8>();
    Ok(words.iter().map(|word| u64::from_be_bytes(*word)).collect())
}

/// Reads and checks the header and the tables that it points to; what allocates clusters relies on more, so more is checked of an
/// image that is `written`.
pub(super) fn inspect(file: &File, path: &Path, written: bool) -> Result<Header, FormatError> {
    let length = file.metadata()?.len();
    // An image can be on a block device, whose metadata have no length.
    let length = if length == 0 { u64::MAX } else { length };
    let header = parse(file, path)?;
    check_tables(file, &header, length, written)?;
    Ok(header)
}

fn parse(file: &File, path: &Path) -> Result<Header, FormatError> {
    let mut bytes = [0; V3_LENGTH];
    read(file, &mut bytes, 0)?;
    if u32_at(&bytes, 0) != MAGIC {
        return Err(FormatError::NotThisFormat("qcow2"));
    }
    let version = u32_at(&bytes, 4);
    let cluster_bits = u32_at(&bytes, 20);
    if !matches!(version, 2 | 3) {
        return Err(FormatError::Unsupported {
            what: format!("it is qcow2 version {version}, and only 2 and 3 are known"),
            mend: LOOK.to_owned(),
        });
    }
    if !(9..=21).contains(&cluster_bits) {
        return Err(corrupt(format!("clusters of 2^{cluster_bits} bytes")));
    }
    if u32_at(&bytes, 32) != 0 {
        return Err(FormatError::Unsupported {
            what: "it is encrypted".to_owned(),
            mend: hint::decrypt_command(path),
        });
    }
    let (mut refcount_order, mut has_data_file) = (4, false);
    if version == 3 {
        let mut features = u64_at(&bytes, V2_LENGTH);
        for (bit, meaning, mend) in FEATURES {
            if features & (1 << bit) != 0 {
                let what = meaning.to_owned();
                return Err(match mend {
                    Mend::Convert => hint::convert(what, "qcow2", path),
                    Mend::Repair => FormatError::Unsupported {
                        what,
                        mend: hint::repair_command(path),
                    },
                });
            }
        }
        has_data_file = features & (1 << DATA_FILE) != 0;
        features &= !(1 << DATA_FILE);
        if features != 0 {
            return Err(FormatError::Unsupported {
                what: format!("it has unknown features ({features:#x})"),
                mend: LOOK.to_owned(),
            });
        }
        refcount_order = u32_at(&bytes, 96);
        let header_length = u32_at(&bytes, 100);
        if refcount_order > 6 {
            return Err(corrupt(format!("refcounts of 2^{refcount_order} bits")));
        }
        if header_length < 104 || u64::from(header_length) > 1 << cluster_bits {
            return Err(corrupt(format!("a header of {header_length} bytes")));
        }
    }
    Ok(Header {
        size: u64_at(&bytes, 24),
        zero_clusters: version == 3,
        cluster_bits,
        l1_offset: u64_at(&bytes, 40),
        l1_entries: u64::from(u32_at(&bytes, 36)),
        refcount_offset: u64_at(&bytes, 48),
        refcount_clusters: u64::from(u32_at(&bytes, 56)),
        refcount_order,
        has_data_file,
        backing_format: match version {
            2 => backing_format(file, &bytes, 1 << cluster_bits)?,
            _ => None,
        },
    })
}

/// Looks for the backing file's format among the extensions of a header of version 2. They end where the backing file's
/// name begins, or with the first cluster.
fn backing_format(file: &File, header: &[u8], cluster: u64) -> io::Result<Option<String>> {
    const END: u32 = 0;
    const BACKING_FORMAT: u32 = 0xe279_2aca;
    const LONGEST: u32 = 16;
    let end = match u64_at(header, 8) {
        0 => cluster,
        name => name.min(cluster),
    };
    let mut at = V2_LENGTH as u64;
    while at + 8 <= end {
        let mut extension = [0; 8];
        read(file, &mut extension, at)?;
        let (kind, length) = (u32_at(&extension, 0), u32_at(&extension, 4));
        if kind == END {
            break;
        }
        if kind == BACKING_FORMAT && length <= LONGEST {
            let mut name = vec![0; length as usize];
            read(file, &mut name, at + 8)?;
            return Ok(String::from_utf8(name).ok());
        }
        at += 8 + u64::from(length).next_multiple_of(8);
    }
    Ok(None)
}

/// The tables are where the file is, and large enough.
fn check_tables(
    file: &File,
    header: &Header,
    length: u64,
    written: bool,
) -> Result<(), FormatError> {
    let cluster = 1_u64 << header.cluster_bits;
    // One entry of L1 stands for a table of L2, which has eight bytes for each cluster.
    let per_entry = cluster << (header.cluster_bits - 3);
    if header.size > i64::MAX.unsigned_abs() {
        return Err(corrupt(format!("a size of {} bytes", header.size)));
    }
    if header.l1_entries * 8 > MAX_L1_BYTES || header.size.div_ceil(per_entry) > header.l1_entries {
        return Err(corrupt(format!(
            "an L1 table of {} entries for {} bytes",
            header.l1_entries, header.size
        )));
    }
    if header.refcount_clusters == 0
        || header.refcount_clusters << header.cluster_bits > MAX_REFCOUNT_BYTES.max(cluster)
    {
        return Err(corrupt(format!(
            "a refcount table of {} clusters",
            header.refcount_clusters
        )));
    }
    let refcount_entries = header.refcount_clusters << (header.cluster_bits - 3);
    for (name, offset, entries) in [
        ("L1 table", header.l1_offset, header.l1_entries),
        ("refcount table", header.refcount_offset, refcount_entries),
    ] {
        if !offset.is_multiple_of(cluster) || (offset < cluster && entries > 0) {
            return Err(corrupt(format!("its {name} is at byte {offset}")));
        }
        let end = offset.checked_add(entries * 8);
        if end.is_none_or(|end| end > length.max(cluster)) {
            return Err(FormatError::Truncated(format!("its {name}")));
        }
    }
    let l1 = read_table(file, header.l1_offset, header.l1_entries)?;
    let refcounts = read_table(file, header.refcount_offset, refcount_entries)?;
    for (name, table) in [("L2 table", &l1), ("refcount block", &refcounts)] {
        for entry in table {
            let offset = entry & OFFSET;
            if !offset.is_multiple_of(cluster) {
                return Err(corrupt(format!("an {name} at byte {offset}")));
            }
            if offset >= length {
                return Err(FormatError::Truncated(format!("a {name}")));
            }
        }
    }
    if written {
        refcounts::check(file, header, &l1, &refcounts)?;
    }
    // Otherwise nothing that the tables lead to is in this file.
    if !header.has_data_file
        && last_cluster(file, header, &refcounts)?
            .is_some_and(|last| last.saturating_mul(cluster) >= length)
    {
        // Either the file lost its end, or a crash left clusters that nothing refers to yet, which is harmless.
        check_data(file, header, &l1, length)?;
    }
    Ok(())
}

/// The last cluster of the file that is in use, by the refcounts.
fn last_cluster(
    file: &File,
    header: &Header,
    refcounts: &[u64],
) -> Result<Option<u64>, FormatError> {
    let cluster = 1_usize << header.cluster_bits;
    let Some((index, entry)) = (refcounts.iter().enumerate()).rfind(|(_, entry)| **entry != 0)
    else {
        return Ok(None);
    };
    let mut block = vec![0; cluster];
    read(file, &mut block, entry & OFFSET)?;
    let Some(byte) = block.iter().rposition(|byte| *byte != 0) else {
        return Ok(None);
    };
    // The first of the clusters that this byte counts for, which is exact enough.
    let bits = byte as u64 * 8;
    let per_block = (cluster as u64 * 8) >> header.refcount_order;
    Ok(Some(
        (index as u64).saturating_mul(per_block) + (bits >> header.refcount_order),
    ))
}

/// No guest cluster is beyond the end of the file.
fn check_data(file: &File, header: &Header, l1: &[u64], length: u64) -> Result<(), FormatError> {
    const COMPRESSED: u64 = 1 << 62;
    const ZERO: u64 = 1;
    let mut tables: Vec<u64> = l1.iter().map(|entry| entry & OFFSET).collect();
    // So that no more is read than the file holds: it may be of any size, if it is made of holes.
    tables.sort_unstable();
    tables.dedup();
    for offset in tables {
        if offset == 0 || is_hole(file, offset, 1 << header.cluster_bits) {
            continue;
        }
        for entry in read_table(file, offset, 1 << (header.cluster_bits - 3))? {
            let plain = entry & (COMPRESSED | ZERO) == 0;
            if plain && entry & OFFSET >= length {
                return Err(FormatError::Truncated("data".to_owned()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_a_hole_is_known_without_a_read() {
        const TABLE: u64 = 1 << 16;
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        file.write_all_at(&[1], 3 * TABLE + 5).unwrap();
        let holes = [0, 2, 3, 4, 1 << 20].map(|table| is_hole(&file, table * TABLE, TABLE));
        assert_eq!(holes, [true, true, false, true, true]);
    }
}
