//! A sparse extent: a directory leads to tables, and their entries to grains, which may be compressed. Offsets are those
//! of "Virtual Disk Format 5.0", "Hosted Sparse Extents", "ESX Server Sparse Extents" and "Stream-Optimized".

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

use imago::io_buffers::IoVectorMut;
use imago::{Storage as _, StorageExt};
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::{BLOCK, MAX_DESCRIPTOR};
use crate::format::FormatError;

/// A file with grains.
type File = imago::file::File;

/// How a hosted sparse extent begins, and one of ESX Server.
pub(super) const HOSTED: [u8; 4] = *b"KDMV";
pub(super) const ESX: [u8; 4] = *b"COWD";

/// The directory's offset of a stream, which has it at its end.
const AT_THE_END: u64 = u64::MAX;
/// Entries of a table of ESX Server, which does not say how many it has.
const ESX_TABLE: u64 = 4096;
/// The most blocks of a grain, and entries of a table or of a directory, that are believed.
const MAX_GRAIN: u64 = 1 << 15;
const MAX_TABLE: u64 = 1 << 16;
const MAX_DIRECTORY: u64 = 8 << 20;
/// Inflated grains that are kept, because a guest reads less than one at a time.
const KEPT: usize = 4;

/// Flags of the header.
const LINE_ENDS: u32 = 1 << 0;
const ZERO_GRAINS: u32 = 1 << 2;
const COMPRESSED: u32 = 1 << 16;
const MARKERS: u32 = 1 << 17;

/// What the header of a sparse extent says.
#[derive(Debug)]
pub(super) struct Header {
    /// Blocks of the disk in it. None: the file has a descriptor alone.
    pub(super) capacity: u64,
    /// The descriptor in it: offset and length in bytes.
    pub(super) descriptor: Option<(u64, usize)>,
    grain: u64,
    per_table: u64,
    directory: u64,
    zero_grains: bool,
    compression: Compression,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    None,
    /// Deflate, and whether a marker with the length is before each grain.
    Deflate {
        markers: bool,
    },
}

/// A sparse extent, open.
#[derive(Debug)]
pub(super) struct Sparse {
    file: File,
    length: u64,
    /// Of a grain, in bytes.
    grain: u64,
    per_table: u64,
    /// Where the tables are, in blocks.
    directory: Vec<u32>,
    zero_grains: bool,
    compression: Compression,
    kept: Mutex<VecDeque<(u64, Arc<Vec<u8>>)>>,
}

/// Where a grain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grain {
    Zero,
    /// At this byte.
    At(u64),
}

fn corrupt(what: impl Into<String>) -> FormatError {
    FormatError::Corrupt(what.into())
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    let piece = from.get(at..at + N).and_then(|it| it.try_into().ok());
    piece.unwrap_or([0; N])
}

fn u32_at(from: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes(from, at))
}

fn u64_at(from: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes(from, at))
}

impl Header {
    /// Reads the header at the file's beginning; a stream's from its end.
    pub(super) fn read(file: &File) -> Result<Self, FormatError> {
        let mut header = [0; 512];
        file.read(header.as_mut_slice(), 0)?;
        if bytes(&header, 0) == ESX {
            return Self::esx(&header);
        }
        let mut hosted = Self::hosted(&header)?;
        if hosted.directory == AT_THE_END {
            // The footer is a header, between its marker and the end-of-stream marker.
            let at = file.size()?.checked_sub(2 * BLOCK);
            let mut footer = [0; 512];
            file.read(
                footer.as_mut_slice(),
                at.ok_or_else(|| FormatError::Truncated("its footer".to_owned()))?,
            )?;
            if bytes(&footer, 0) != HOSTED {
                return Err(FormatError::Truncated("its footer".to_owned()));
            }
            let descriptor = hosted.descriptor;
            hosted = Self {
                descriptor,
                ..Self::hosted(&footer)?
            };
        }
        Ok(hosted)
    }

    fn hosted(header: &[u8]) -> Result<Self, FormatError> {
        let flags = u32_at(header, 8);
        if flags & LINE_ENDS != 0 && bytes(header, 73) != *b"\n \r\n" {
            return Err(corrupt("it was transferred as text"));
        }
        let compression = match (flags & COMPRESSED, u16::from_le_bytes(bytes(header, 77))) {
            (0, _) => Compression::None,
            (_, 1) => Compression::Deflate {
                markers: flags & MARKERS != 0,
            },
            (_, other) => return Err(corrupt(format!("compression {other}"))),
        };
        let (at, length) = (u64_at(header, 28), u64_at(header, 36));
        let descriptor = (at != 0).then(|| {
            let length = length.saturating_mul(BLOCK).min(MAX_DESCRIPTOR);
            let length = usize::try_from(length).unwrap_or(0);
            (at.saturating_mul(BLOCK), length)
        });
        Ok(Self {
            capacity: u64_at(header, 12),
            descriptor,
            grain: u64_at(header, 20),
            per_table: u64::from(u32_at(header, 44)),
            directory: u64_at(header, 56),
            zero_grains: flags & ZERO_GRAINS != 0,
            compression,
        })
    }

    fn esx(header: &[u8]) -> Result<Self, FormatError> {
        Ok(Self {
            capacity: u64::from(u32_at(header, 12)),
            descriptor: None,
            grain: u64::from(u32_at(header, 16)),
            per_table: ESX_TABLE,
            directory: u64::from(u32_at(header, 20)),
            zero_grains: false,
            compression: Compression::None,
        })
    }
}

impl Sparse {
    /// Reads the directory; `sectors` is what the disk expects of the extent.
    pub(super) fn open(file: File, header: &Header, sectors: u64) -> Result<Self, FormatError> {
        let length = file.size()?;
        if !(1..=MAX_GRAIN).contains(&header.grain) {
            return Err(corrupt(format!("grains of {} blocks", header.grain)));
        }
        if !(1..=MAX_TABLE).contains(&header.per_table) {
            return Err(corrupt(format!("tables of {} grains", header.per_table)));
        }
        if header.capacity < sectors {
            return Err(corrupt(format!(
                "an extent of {} blocks where {sectors} are expected",
                header.capacity
            )));
        }
        let entries = header.capacity.div_ceil(header.grain * header.per_table);
        if entries > MAX_DIRECTORY {
            return Err(corrupt(format!("a directory of {entries} tables")));
        }
        let truncated = |what: &str| FormatError::Truncated(what.to_owned());
        let start = header.directory.checked_mul(BLOCK);
        let start = start.ok_or_else(|| truncated("its directory"))?;
        if start
            .checked_add(entries * 4)
            .is_none_or(|end| end > length)
        {
            return Err(truncated("its directory"));
        }
        let directory = words(&file, start, entries)?;
        let table = header.per_table * 4;
        if (directory.iter()).any(|at| *at != 0 && u64::from(*at) * BLOCK + table > length) {
            return Err(truncated("a table"));
        }
        Ok(Self {
            file,
            length,
            grain: header.grain * BLOCK,
            per_table: header.per_table,
            directory,
            zero_grains: header.zero_grains,
            compression: header.compression,
            kept: Mutex::default(),
        })
    }

    /// Reads what is `offset` bytes into the extent.
    pub(super) fn read(&self, mut rest: IoVectorMut<'_>, mut offset: u64) -> io::Result<()> {
        while !rest.is_empty() {
            let first = offset / self.grain;
            let within = offset % self.grain;
            let wanted = (within + rest.len()).div_ceil(self.grain);
            let grains = self.grains(first, wanted)?;
            for (index, grain) in (first..).zip(grains) {
                if rest.is_empty() {
                    break;
                }
                let within = offset % self.grain;
                let count = (self.grain - within).min(rest.len());
                let (piece, tail) = rest.split_at(count);
                self.read_grain(index, grain, within, piece)?;
                rest = tail;
                offset += count;
            }
        }
        Ok(())
    }

    fn read_grain(
        &self,
        index: u64,
        grain: Grain,
        within: u64,
        mut piece: IoVectorMut<'_>,
    ) -> io::Result<()> {
        match (grain, self.compression) {
            (Grain::Zero, _) => piece.fill(0),
            (Grain::At(at), Compression::None) => {
                let start = at + within;
                if start + piece.len() > self.length {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                self.file.readv(piece, start)?;
            }
            (Grain::At(at), Compression::Deflate { markers }) => {
                let bytes = self.inflated(index, at, markers)?;
                let start = usize::try_from(within).unwrap_or(usize::MAX);
                let count = usize::try_from(piece.len()).unwrap_or(usize::MAX);
                let bytes = bytes.get(start..start.saturating_add(count));
                piece.copy_from_slice(bytes.ok_or(ErrorKind::InvalidData)?);
            }
        }
        Ok(())
    }

    /// Where up to `wanted` grains are, from one on, as far as one table tells.
    fn grains(&self, first: u64, wanted: u64) -> io::Result<Vec<Grain>> {
        let within = first % self.per_table;
        let count = wanted.min(self.per_table - within);
        let table = usize::try_from(first / self.per_table).unwrap_or(usize::MAX);
        let table = *self.directory.get(table).ok_or(ErrorKind::InvalidInput)?;
        if table == 0 {
            let count = usize::try_from(count).unwrap_or(0);
            return Ok(vec![Grain::Zero; count]);
        }
        let entries = words(&self.file, u64::from(table) * BLOCK + within * 4, count)?;
        let grain = |entry: u32| match entry {
            0 => Grain::Zero,
            1 if self.zero_grains => Grain::Zero,
            entry => Grain::At(u64::from(entry) * BLOCK),
        };
        Ok(entries.into_iter().map(grain).collect())
    }

    /// A grain's bytes, as many as a grain has.
    fn inflated(&self, index: u64, at: u64, markers: bool) -> io::Result<Arc<Vec<u8>>> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = kept().iter().find(|(it, _)| *it == index) {
            return Ok(Arc::clone(bytes));
        }
        // What does not get shorter is a little longer.
        let most = self.grain + self.grain / 8 + BLOCK;
        let (at, length) = if markers {
            let mut marker = [0; 12];
            self.file.read(marker.as_mut_slice(), at)?;
            (at + 12, u64::from(u32_at(&marker, 8)))
        } else {
            (at, most.min(self.length.saturating_sub(at)))
        };
        if length == 0 || length > most {
            return Err(ErrorKind::InvalidData.into());
        }
        if at + length > self.length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut compressed = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.file.read(compressed.as_mut_slice(), at)?;
        let grain = usize::try_from(self.grain).map_err(io::Error::other)?;
        let mut bytes = decompress_to_vec_zlib_with_limit(&compressed, grain)
            .map_err(|error| io::Error::new(ErrorKind::InvalidData, error.to_string()))?;
        // The disk's last grain may end early.
        bytes.resize(grain, 0);
        let bytes = Arc::new(bytes);
        let mut kept = kept();
        kept.push_front((index, Arc::clone(&bytes)));
        kept.truncate(KEPT);
        Ok(bytes)
    }
}

/// Reads `count` little-endian words.
fn words(file: &File, offset: u64, count: u64) -> io::Result<Vec<u32>> {
    let mut bytes = vec![0; usize::try_from(count * 4).map_err(io::Error::other)?];
    file.read(bytes.as_mut_slice(), offset)?;
    let (words, _) = bytes.as_chunks::<4>();
    Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
}
