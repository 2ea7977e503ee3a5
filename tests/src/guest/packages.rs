//! Debian packages, unpacked into a directory of their own: nothing is installed and no root is needed.
//!
//! apt gets a state of its own (no installed packages, the suites that are wanted) and keeps the machine's configuration
//! otherwise: mirror, proxy, keys. The programs run through the prefix's own dynamic linker, so the machine's C library
//! does not matter.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The suite of the guest's packages.
const SUITE: &str = "trixie";
/// The suite that has a QEMU with `vfio-user-pci`.
const BACKPORTS: &str = "trixie-backports";
const PACKAGES: [&str; 12] = [
    "qemu-system-common/trixie-backports",
    "qemu-system-data/trixie-backports",
    "qemu-system-x86/trixie-backports",
    "qemu-utils/trixie-backports",
    "seabios/trixie-backports",
    "linux-image-amd64",
    "busybox-static",
    "e2fsprogs",
    "eject",
    "fio",
    "genisoimage",
    "sg3-utils",
];

const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const LINKER: &str = "ld-linux-x86-64.so.2";

/// The directory with the unpacked packages.
#[derive(Debug)]
pub(super) struct Prefix {
    root: PathBuf,
}

/// Fetches and unpacks the packages below `directory`, unless that has been done.
pub(super) fn fetch(directory: &Path) -> Result<Prefix> {
    let root = directory.join("prefix");
    let complete = root.join("complete");
    let recipe = PACKAGES.join("\n");
    if fs::read_to_string(&complete).is_ok_and(|made| made == recipe) {
        return Ok(Prefix { root });
    }
    let apt = Apt::new(&directory.join("apt"))?;
    apt.run(&["update"])?;
    let mut install = vec!["--download-only", "--yes", "install"];
    install.extend(PACKAGES);
    apt.run(&install)?;
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::create_dir_all(&root)?;
    // As Debian has them: some packages still name the left-hand side.
    for name in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(name))?;
        symlink(format!("usr/{name}"), root.join(name))?;
    }
    for package in apt.packages()? {
        run(Command::new("dpkg-deb").arg("-x").arg(&package).arg(&root))?;
    }
    // The archives are in the prefix now.
    fs::remove_dir_all(directory.join("apt"))?;
    fs::write(&complete, recipe)?;
    Ok(Prefix { root })
}

impl Prefix {
    /// A path below the prefix.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The kernel of the packages.
    pub(super) fn kernel(&self) -> Result<PathBuf> {
        let kernel = fs::read_dir(self.path("boot"))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-"))
            });
        kernel.context("there is no kernel in the packages")
    }

    /// The dynamic linker of the packages.
    pub(super) fn linker(&self) -> PathBuf {
        self.path(LIBRARIES).join(LINKER)
    }

    /// Where it finds libraries.
    pub(super) fn library_path(&self) -> String {
        let libraries = self.path(LIBRARIES);
        // Some libraries are in directories of their own, found by the paths in those who need them.
        let mut path = libraries.display().to_string();
        for directory in ["ceph", "pulseaudio"] {
            path.push(':');
            path.push_str(&libraries.join(directory).display().to_string());
        }
        path
    }

    /// A command that runs the program `name`.
    pub(super) fn program(&self, name: &str) -> Result<Command> {
        let path = ["usr/bin", "usr/sbin"]
            .iter()
            .map(|directory| self.path(directory).join(name))
            .find(|path| path.is_file())
            .with_context(|| format!("there is no {name} in the packages"))?;
        let mut command = Command::new(self.linker());
        command
            .arg("--library-path")
            .arg(self.library_path())
            .arg(path);
        Ok(command)
    }

    /// A command that runs QEMU with its own modules and firmware.
    pub(super) fn qemu(&self) -> Command {
        let mut command = Command::new(self.linker());
        command
            .env("QEMU_MODULE_DIR", self.path(LIBRARIES).join("qemu"))
            .arg("--library-path")
            .arg(self.library_path())
            .arg(self.path("usr/bin/qemu-system-x86_64"));
        for data in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(self.path(data));
        }
        command
    }
}

/// apt with a state of its own.
struct Apt {
    directory: PathBuf,
}

impl Apt {
    fn new(directory: &Path) -> Result<Self> {
        for name in ["lists/partial", "archives/partial"] {
            fs::create_dir_all(directory.join(name))?;
        }
        // Nothing is installed, so everything that is needed is fetched.
        fs::write(directory.join("status"), "")?;
        let mirror = mirror()?;
        let sources: String = [SUITE, BACKPORTS]
            .iter()
            .map(|suite| format!("deb {mirror} {suite} main\n"))
            .collect();
        fs::write(directory.join("sources.list"), sources)?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<()> {
        let path = |name: &str| self.directory.join(name).display().to_string();
        let settings = [
            format!("Dir::State={}", path("")),
            format!("Dir::State::status={}", path("status")),
            format!("Dir::Cache={}", path("")),
            format!("Dir::Etc::SourceList={}", path("sources.list")),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "Dir::Etc::Preferences=/dev/null".to_owned(),
            "Dir::Etc::PreferencesParts=/dev/null".to_owned(),
            "APT::Architecture=amd64".to_owned(),
            "APT::Architectures=amd64".to_owned(),
            "APT::Install-Recommends=false".to_owned(),
            "APT::Install-Suggests=false".to_owned(),
            // The directories are the user's own.
            "APT::Sandbox::User=".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::Retries=3".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ];
        let mut command = Command::new("apt-get");
        command.arg("-q");
        for setting in settings {
            command.args(["-o", &setting]);
        }
        run(command.args(arguments))
    }

    fn packages(&self) -> Result<Vec<PathBuf>> {
        Ok(fs::read_dir(self.directory.join("archives"))?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|name| name == "deb"))
            .collect())
    }
}

/// The Debian mirror that this machine's apt uses, with the keyring that its sources name, as a source's first words.
fn mirror() -> Result<String> {
    if let Ok(mirror) = std::env::var("DEBIAN_MIRROR") {
        return Ok(mirror);
    }
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI) $(SIGNED_BY)"])
        .output()
        .context("cannot run apt-get: DEBIAN packages are what a guest is made of")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let source = text.lines().find_map(|line| {
        let (uri, keys) = line.split_once(' ')?;
        // Debian's archive is published below this name on every mirror.
        uri.trim_end_matches('/')
            .ends_with("/debian")
            .then(|| (uri.to_owned(), keys.trim().to_owned()))
    });
    match source {
        Some((uri, keys)) if keys.starts_with('/') => Ok(format!("[signed-by={keys}] {uri}")),
        Some((uri, _)) => Ok(format!("{}{uri}", default_keys())),
        None => bail!(
            "apt has no Debian mirror in its sources: name one, as DEBIAN_MIRROR='[signed-by=KEYRING] URL'"
        ),
    }
}

fn default_keys() -> &'static str {
    const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
    if Path::new(KEYS).is_file() {
        "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] "
    } else {
        ""
    }
}

/// Runs a command to its end; its output is shown only if it fails.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    if !output.status.success() {
        bail!(
            "{name}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}
