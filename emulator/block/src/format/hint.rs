//! Step 9, block: the commands that help with an image that is not read here. The tests run them as they are said.

use std::path::Path;

use super::FormatError;

/// It is of a kind that `qemu-img` knows, and that is not known here.
pub(super) fn convert(what: impl Into<String>, format: &str, path: &Path) -> FormatError {
    FormatError::Unsupported {
        what: what.into(),
        mend: convert_command(format, path),
    }
}

/// How to make a plain qcow2 image of one in this format, with all that it stands on.
pub fn convert_command(format: &str, path: &Path) -> String {
    let copy = path.with_extension("converted.qcow2");
    format!(
        "convert it: qemu-img convert -f {} -O qcow2 {} {}",
        quoted(Path::new(format)),
        quoted(path),
        quoted(&copy)
    )
}

/// The same for an image that is encrypted.
pub(super) fn decrypt_command(path: &Path) -> String {
    let copy = path.with_extension("converted.qcow2");
    let image = path.display().to_string().replace(',', ",,");
    let image = format!("driver=qcow2,encrypt.key-secret=key,file.filename={image}");
    format!(
        "convert it: qemu-img convert --object secret,id=key,file=PASSWORD_FILE --image-opts -O qcow2 {} {}",
        quoted(Path::new(&image)),
        quoted(&copy)
    )
}

/// How to repair a qcow2 image.
pub(super) fn repair_command(path: &Path) -> String {
    format!("repair it: qemu-img check -f qcow2 -r all {}", quoted(path))
}

/// How to make a qcow2 image's disk, of so many bytes, one of whole blocks.
pub fn resize_command(path: &Path, bytes: u64) -> String {
    let whole = bytes.next_multiple_of(512);
    format!("pad it: qemu-img resize -f qcow2 {} {whole}", quoted(path))
}

/// How to make a raw image one of whole blocks.
pub fn pad_command(path: &Path) -> String {
    format!("pad it: truncate -s %512 {}", quoted(path))
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=,:@%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text,
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_where_a_shell_needs_it() {
        for (path, text) in [
            ("/images/disk-1.qcow2", "/images/disk-1.qcow2"),
            ("my disk.vmdk", "'my disk.vmdk'"),
            ("it's", r"'it'\''s'"),
            ("", "''"),
            ("$HOME", "'$HOME'"),
        ] {
            assert_eq!(quoted(Path::new(path)), text);
        }
    }
}
