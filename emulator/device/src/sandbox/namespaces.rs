//! Namespaces of its own, and a root directory with nothing in it.

mod sys;

use std::io;

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

/// Where the empty root is mounted: any directory does, and this one every Linux has.
const MOUNT_POINT: &str = "/proc";

/// Moves the process into namespaces of its own: no network, no System V IPC, no view of the host's mounts.
///
/// A process-ID namespace is not among them: it would hold only for children, and there will be none.
pub(super) fn enter() -> io::Result<()> {
    let own = UnshareFlags::NEWNS
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    // A user namespace lets an ordinary user do it; a privileged process can do without.
    sys::unshare(own | UnshareFlags::NEWUSER).or_else(|error| sys::unshare(own).map_err(|_| error))
}

/// Makes an empty read-only file system the root directory. Only for a process with a mount namespace of its own.
///
/// Descriptors that are open stay open. There is no way back: no descriptor of a directory is kept,
/// and the capability to change the root again is dropped next.
pub(super) fn empty_root() -> io::Result<()> {
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )?;
    let bare = MountFlags::RDONLY | MountFlags::NOEXEC | MountFlags::NOSUID | MountFlags::NODEV;
    mount(
        "none",
        MOUNT_POINT,
        "tmpfs",
        bare,
        c"size=4k,nr_inodes=1,mode=0555",
    )?;
    rustix::process::chdir(MOUNT_POINT)?;
    rustix::process::chroot(".")?;
    Ok(())
}
