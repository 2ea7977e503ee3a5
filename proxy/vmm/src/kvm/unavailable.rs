//! Why KVM cannot be used, in words that help.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const DEVICE: &str = "/dev/kvm";

/// Why this process cannot use KVM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KvmUnavailable {
    /// There is no `/dev/kvm`.
    Missing,
    /// The user may not open `/dev/kvm`; the group that may, if there is one.
    Denied {
        /// The group's name, or its number if it has none.
        group: Option<String>,
    },
    /// `/dev/kvm` cannot be opened for another reason.
    Other(String),
}

/// Why this process cannot use KVM; `None` if it can.
#[must_use]
pub fn kvm_unavailable() -> Option<KvmUnavailable> {
    let device = Path::new(DEVICE);
    let error = File::options().read(true).write(true).open(device).err()?;
    Some(KvmUnavailable::new(&error, device))
}

impl KvmUnavailable {
    fn new(error: &io::Error, device: &Path) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing,
            io::ErrorKind::PermissionDenied => Self::Denied {
                group: group_that_may(device),
            },
            _ => Self::Other(error.to_string()),
        }
    }
}

/// The device's group, if its members may read and write.
fn group_that_may(device: &Path) -> Option<String> {
    let metadata = fs::metadata(device).ok()?;
    // What root's own group may do helps nobody else.
    let members_may = metadata.mode() & 0o060 == 0o060 && metadata.gid() != 0;
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    members_may.then(|| group_name(&groups, metadata.gid()))
}

/// The name of a group, of lines as in `/etc/group`.
fn group_name(groups: &str, id: u32) -> String {
    let id = id.to_string();
    groups
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1) == Some(&id)).then(|| name.to_owned())
        })
        .unwrap_or(id)
}

impl fmt::Display for KvmUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(
                f,
                "there is no {DEVICE}: virtualisation is off in this machine, or the module kvm_intel or kvm_amd is not loaded"
            ),
            Self::Denied { group: Some(group) } => write!(
                f,
                "no permission for {DEVICE}: group {group} may use it; `sudo usermod -aG {group} $USER`, then log in again"
            ),
            Self::Denied { group: None } => {
                write!(f, "no permission for {DEVICE}: only root may use it here")
            }
            Self::Other(error) => write!(f, "{DEVICE} cannot be used: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_group_has_a_name_or_a_number() {
        let groups = "root:x:0:\nkvm:x:104:alice,bob\nodd\n";
        assert_eq!(group_name(groups, 104), "kvm");
        assert_eq!(group_name(groups, 0), "root");
        assert_eq!(group_name(groups, 4), "4");
    }

    #[test]
    fn each_reason_says_what_helps() {
        let of = |errno| KvmUnavailable::new(&io::Error::from_raw_os_error(errno), Path::new("/"));
        assert_eq!(of(libc::ENOENT), KvmUnavailable::Missing);
        let text = of(libc::ENOENT).to_string();
        assert!(text.contains("no /dev/kvm") && text.contains("kvm_amd"));
        // `/` is root's and has root's group.
        assert_eq!(of(libc::EACCES), KvmUnavailable::Denied { group: None });
        let group = Some("kvm".to_owned());
        let text = KvmUnavailable::Denied { group }.to_string();
        assert!(text.contains("sudo usermod -aG kvm $USER"), "{text}");
        let text = of(libc::EBUSY).to_string();
        assert!(text.contains("busy"), "{text}");
    }

    #[test]
    fn only_a_group_that_may_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mode = |mode| {
            fs::set_permissions(file.path(), fs::Permissions::from_mode(mode)).unwrap();
            group_that_may(file.path())
        };
        // Root's files are of root's group.
        let own = rustix::process::getegid().as_raw() != 0;
        assert_eq!(mode(0o660).is_some(), own);
        assert_eq!(mode(0o640), None);
    }
}
