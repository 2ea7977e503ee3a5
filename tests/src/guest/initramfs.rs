//! The guest's root file system: tools, their libraries, the driver's modules, and an init that runs a script.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::cpio;
use super::packages::{Prefix, run};

const INIT: &str = include_str!("init.sh");

/// Modules that the guest loads or that those need. One that is not there is taken to be in the kernel itself.
const MODULES: [&str; 15] = [
    "cdrom",
    "crc16",
    "crc32c_generic",
    "ext4",
    "isofs",
    "jbd2",
    "mbcache",
    "qemu_fw_cfg",
    "scsi_common",
    "scsi_mod",
    "scsi_transport_spi",
    "sd_mod",
    "sg",
    "sr_mod",
    "sym53c8xx",
];

const PROGRAMS: [&str; 7] = [
    "usr/bin/busybox",
    "usr/bin/eject",
    "usr/bin/fio",
    "usr/sbin/badblocks",
    "usr/sbin/e2fsck",
    "usr/sbin/mke2fs",
    "usr/sbin/resize2fs",
];

/// The archive for `kernel`, made below `directory` unless it is there already.
pub(super) fn build(directory: &Path, prefix: &Prefix, kernel: &Path) -> Result<PathBuf> {
    let version = kernel_version(kernel)?;
    let archive = directory.join(format!("initramfs-{version}.cpio"));
    let stamp = archive.with_extension("recipe");
    let packages = fs::read_to_string(prefix.path("complete"))?;
    let recipe = format!("{packages}\n{MODULES:?}\n{PROGRAMS:?}\n{INIT}");
    if archive.exists() && fs::read_to_string(&stamp).is_ok_and(|made| made == recipe) {
        return Ok(archive);
    }
    let root = directory.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    for name in [
        "bin", "dev", "etc", "lib64", "mnt", "proc", "run", "sys", "tmp", "usr",
    ] {
        fs::create_dir_all(root.join(name))?;
    }
    symlink("lib64", root.join("lib"))?;
    for name in ["bin", "lib"] {
        symlink(format!("../{name}"), root.join("usr").join(name))?;
    }
    programs(prefix, &root)?;
    modules(prefix, kernel, &version, &root)?;
    fs::write(root.join("init"), INIT)?;
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
    cpio::write(&root, &archive)?;
    fs::write(stamp, recipe)?;
    Ok(archive)
}

/// Copies the programs and every library that the dynamic linker would load for them.
fn programs(prefix: &Prefix, root: &Path) -> Result<()> {
    let mut programs: Vec<PathBuf> = PROGRAMS.iter().map(|name| prefix.path(name)).collect();
    for entry in fs::read_dir(prefix.path("usr/bin"))? {
        let path = entry?.path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("sg_"))
        {
            programs.push(path);
        }
    }
    let mut libraries = BTreeSet::from([prefix.linker()]);
    for program in &programs {
        let output = Command::new(prefix.linker())
            .arg("--library-path")
            .arg(prefix.library_path())
            .arg("--list")
            .arg(program)
            .output()?;
        // Lines of `name => path (address)`; a static program has none.
        let text = String::from_utf8_lossy(&output.stdout);
        let paths = text.lines().filter_map(|line| {
            let path = line.split_once("=> ")?.1.split(' ').next()?;
            path.starts_with('/').then(|| PathBuf::from(path))
        });
        libraries.extend(paths);
        copy(program, &root.join("bin"))?;
    }
    for library in libraries {
        copy(&library, &root.join("lib64"))?;
    }
    symlink("mke2fs", root.join("bin/mkfs.ext4"))?;
    Ok(())
}

fn copy(file: &Path, directory: &Path) -> Result<()> {
    let name = file.file_name().context("a path without a name")?;
    fs::copy(file, directory.join(name))
        .with_context(|| format!("cannot copy {}", file.display()))?;
    Ok(())
}

fn modules(prefix: &Prefix, kernel: &Path, version: &str, root: &Path) -> Result<()> {
    let beside = kernel.parent().and_then(Path::parent).unwrap_or(kernel);
    let source = [
        prefix.path("usr/lib/modules"),
        beside.join("lib/modules"),
        PathBuf::from("/lib/modules"),
    ]
    .into_iter()
    .map(|directory| directory.join(version))
    .find(|directory| directory.is_dir());
    let target = root.join("lib64/modules").join(version);
    fs::create_dir_all(&target)?;
    if let Some(source) = source {
        copy_modules(&source.join("kernel"), &target)?;
    }
    run(Command::new(prefix.path("usr/bin/busybox"))
        .args(["depmod", "-b"])
        .arg(root)
        .arg(version))
}

fn copy_modules(source: &Path, target: &Path) -> Result<()> {
    for entry in fs::read_dir(source)? {
        let path = entry?.path();
        if path.is_dir() {
            copy_modules(&path, target)?;
            continue;
        }
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .replace('-', "_");
        if let Some((module, _)) = name.split_once(".ko")
            && MODULES.contains(&module)
        {
            copy(&path, target)?;
        }
    }
    Ok(())
}

/// The release of a kernel image, from its header (Linux x86 boot protocol: `kernel_version` at 0x20e, relative to 0x200).
fn kernel_version(kernel: &Path) -> Result<String> {
    let mut header = Vec::new();
    fs::File::open(kernel)?
        .take(0x10_000)
        .read_to_end(&mut header)?;
    let version = || {
        if header.get(0x202..0x206)? != b"HdrS" {
            return None;
        }
        let [low, high] = header.get(0x20e..0x210)?.try_into().ok()?;
        let text = header.get(0x200 + usize::from(u16::from_le_bytes([low, high]))..)?;
        let end = text.iter().position(|byte| matches!(byte, b' ' | 0))?;
        String::from_utf8(text.get(..end)?.to_vec()).ok()
    };
    match version() {
        Some(version) => Ok(version),
        None => bail!("{} is no Linux kernel image (bzImage)", kernel.display()),
    }
}
