//! The text part of a VMDK image, as VMware's products and others write it: which extents the disk has, and whether it
//! stands on a parent. "Virtual Disk Format 5.0", chapter "The Descriptor File".
//!
//! Keys that say nothing of where the bytes are (the disk database, change tracking, content ids) are passed over.

/// What the descriptor says, as far as reading needs it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// The image that this one is a difference to. The empty name: it has one, and does not name it.
    pub(super) parent: Option<String>,
    /// The bytes are encrypted.
    pub(super) is_encrypted: bool,
    /// In the order of the disk.
    pub(super) extents: Vec<Extent>,
}

/// One line of the extent description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) access: Access,
    /// Its part of the disk, in blocks of 512 bytes.
    pub(super) sectors: u64,
    pub(super) kind: Kind,
    /// The file's name as bytes: what they mean is for the encoding to say.
    pub(super) name: Vec<u8>,
    /// Where the data begin in the file, in blocks of 512 bytes.
    pub(super) offset: u64,
}

/// What may be done to an extent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// `RW` or `RDONLY`.
    Read,
    /// `NOACCESS`.
    No,
}

/// How an extent keeps its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// As they are.
    Flat,
    /// In grains, with tables that lead to them.
    Sparse,
    /// Not at all: they are zeroes.
    Zero,
    /// In a way that is not known here.
    Other(String),
}

/// Why a text is not a descriptor.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ParseError {
    /// It is something else.
    NotADescriptor,
    /// A line of the extent description makes no sense.
    Line(String),
}

const MARK: &str = "# disk descriptorfile";

impl Descriptor {
    /// Parses a descriptor; what follows a NUL byte is padding.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let mut descriptor = Self::default();
        let (mut is_marked, mut parent_id, mut hint) = (false, String::new(), String::new());
        for line in text.split(|byte| matches!(byte, b'\n' | b'\r')) {
            let line = line.trim_ascii();
            if line.starts_with(b"#") {
                let comment = String::from_utf8_lossy(line).to_ascii_lowercase();
                is_marked |= comment.starts_with(MARK);
            } else if let Some(extent) = Extent::parse(line)? {
                descriptor.extents.push(extent);
            } else if let Some((key, value)) = key_and_value(line) {
                match key.as_str() {
                    "version" | "createtype" => is_marked = true,
                    "parentcid" => parent_id = value,
                    "parentfilenamehint" => hint = value,
                    key if key.starts_with("encryption.") => descriptor.is_encrypted = true,
                    _ => {}
                }
            }
        }
        if !is_marked {
            return Err(ParseError::NotADescriptor);
        }
        // All ones is no content id; tools that do not know parents write zeroes.
        let has_id = u32::from_str_radix(&parent_id, 16).is_ok_and(|it| it != 0 && it != u32::MAX);
        let is_sparse = |extent: &Extent| extent.kind == Kind::Sparse;
        if !hint.is_empty() || has_id && descriptor.extents.iter().any(is_sparse) {
            descriptor.parent = Some(hint);
        }
        Ok(descriptor)
    }
}

/// A line `key = value`: the key in lower case, the value without the quotes around it.
fn key_and_value(line: &[u8]) -> Option<(String, String)> {
    let line = String::from_utf8_lossy(line);
    let (key, value) = line.split_once('=')?;
    let value = value.trim();
    let inner = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
    let value = inner.unwrap_or(value).trim();
    Some((key.trim().to_ascii_lowercase(), value.to_owned()))
}

impl Extent {
    /// A line of the extent description, if it is one.
    fn parse(line: &[u8]) -> Result<Option<Self>, ParseError> {
        let bad = || ParseError::Line(String::from_utf8_lossy(line).into_owned());
        let (access, rest) = word(line);
        let access = match access.to_ascii_uppercase().as_slice() {
            b"RW" | b"RDONLY" => Access::Read,
            b"NOACCESS" => Access::No,
            _ => return Ok(None),
        };
        let (sectors, rest) = word(rest);
        let sectors = number(sectors).ok_or_else(bad)?;
        let (kind, rest) = word(rest);
        let kind = match kind.to_ascii_uppercase().as_slice() {
            b"FLAT" | b"VMFS" | b"VMFSTHIN" => Kind::Flat,
            b"SPARSE" | b"VMFSSPARSE" => Kind::Sparse,
            b"ZERO" => Kind::Zero,
            b"" if access == Access::No => Kind::Zero,
            b"" => return Err(bad()),
            other => Kind::Other(String::from_utf8_lossy(other).into_owned()),
        };
        let (name, rest) = quoted(rest).ok_or_else(bad)?;
        if name.is_empty() && matches!(kind, Kind::Flat | Kind::Sparse) {
            return Err(bad());
        }
        let (offset, _) = word(rest);
        let offset = match offset {
            b"" => 0,
            offset => number(offset).ok_or_else(bad)?,
        };
        Ok(Some(Self {
            access,
            sectors,
            kind,
            name: name.to_owned(),
            offset,
        }))
    }
}

/// The first word and what follows it.
fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = text.trim_ascii_start();
    let end = text.iter().position(u8::is_ascii_whitespace);
    text.split_at(end.unwrap_or(text.len()))
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A text between quotes, which may be missing, and what follows it.
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    match text.strip_prefix(b"\"") {
        None => Some((b"", text)),
        Some(text) => {
            let end = text.iter().position(|byte| *byte == b'"')?;
            let (name, rest) = text.split_at(end);
            Some((name, rest.strip_prefix(b"\"").unwrap_or(rest)))
        }
    }
}

#[cfg(test)]
mod tests;
