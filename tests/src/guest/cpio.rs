//! A directory as a cpio archive in the format that Linux unpacks as its first root file system (`newc`).

use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// Writes everything below `root` to `archive`.
pub(super) fn write(root: &Path, archive: &Path) -> io::Result<()> {
    let mut writer = Writer {
        output: BufWriter::new(fs::File::create(archive)?),
        entries: 0,
    };
    writer.directory(root, root)?;
    writer.entry(b"TRAILER!!!", 0, &[])?;
    writer.output.flush()
}

struct Writer<W> {
    output: W,
    entries: u32,
}

impl<W: Write> Writer<W> {
    fn directory(&mut self, root: &Path, directory: &Path) -> io::Result<()> {
        let mut paths = fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        // The same tree makes the same archive.
        paths.sort();
        for path in paths {
            let name = path.strip_prefix(root).unwrap_or(&path);
            let name = name.as_os_str().as_bytes().to_owned();
            let metadata = fs::symlink_metadata(&path)?;
            let permissions = metadata.permissions().mode() & 0o7777;
            if metadata.is_symlink() {
                let target = fs::read_link(&path)?;
                self.entry(&name, LINK | 0o777, target.as_os_str().as_bytes())?;
            } else if metadata.is_dir() {
                self.entry(&name, DIRECTORY | permissions, &[])?;
                self.directory(root, &path)?;
            } else {
                self.entry(&name, FILE | permissions, &fs::read(&path)?)?;
            }
        }
        Ok(())
    }

    /// A header of a magic and thirteen numbers in eight hexadecimal digits each, the name and the contents, each padded to four bytes.
    fn entry(&mut self, name: &[u8], mode: u32, contents: &[u8]) -> io::Result<()> {
        let too_big = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        self.entries += 1;
        let size = u32::try_from(contents.len()).map_err(too_big)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_big)?;
        // Inode, mode, owner, group, links, time, size, device, device of a node, length of the name, check.
        let numbers = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            0,
            0,
            name_size,
            0,
        ];
        let mut header = String::from("070701");
        for number in numbers {
            header.push_str(&format!("{number:08x}"));
        }
        self.output.write_all(header.as_bytes())?;
        self.output.write_all(name)?;
        self.output.write_all(&[0])?;
        self.pad(header.len() + name.len() + 1)?;
        self.output.write_all(contents)?;
        self.pad(contents.len())
    }

    fn pad(&mut self, length: usize) -> io::Result<()> {
        self.output
            .write_all(&[0; 3][..length.next_multiple_of(4) - length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_padded_to_four_bytes() {
        let mut writer = Writer {
            output: Vec::new(),
            entries: 0,
        };
        writer.entry(b"a", FILE | 0o644, b"hello").unwrap();
        let header = "070701\
            00000001000081a40000000000000000000000010000000000000005\
            00000000000000000000000000000000\
            0000000200000000";
        assert_eq!(header.len(), 110);
        // 110 + 2 is a multiple of four: no padding behind this name.
        let mut exact = header.as_bytes().to_vec();
        exact.extend(b"a\0hello\0\0\0");
        assert_eq!(writer.output, exact);
    }
}
