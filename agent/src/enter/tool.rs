//! A static program of the host among the container's files.
//!
//! It is mounted in a copy of the container's mount namespace, read-only, on a folder that is empty in
//! every /proc. So nothing is written to the container, nothing of it is hidden, and none of its
//! processes sees the program.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::{fd::OwnedFd, unix::ffi::OsStringExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use object::{
    Endianness,
    elf::{FileHeader64, PT_INTERP},
    read::{
        ReadCache,
        elf::{FileHeader as _, ProgramHeader as _},
    },
};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2, symlinkat},
    mount::MountAttrFlags,
};

use super::{execute::NotExecuted, mounts};

/// Where it is in the container. Linux has had nothing in it for decades, and keeps it (proc_tty_init,
/// fs/proc/proc_tty.c).
pub(super) const FOLDER: &str = "/proc/tty/ldisc";

/// A program, and the names under which it is found.
pub(super) struct Tool {
    name: OsString,
    mount: OwnedFd,
    applets: Vec<OsString>,
}

impl Tool {
    /// Looks the program up as a shell does, on the host.
    pub(super) fn find(program: &OsStr) -> Result<Self> {
        let path = look_up(program)?;
        let shown = path.display();
        if !is_static(&path).with_context(|| format!("failed to read {shown} as an ELF program"))? {
            bail!(
                "{shown} is not static: it would run the container's libraries, if it has any; \
                 busybox-static is one that is"
            );
        }
        let name = path.file_name().context("a program without a name")?.to_owned();
        let applets = if name == "busybox" { applets(&path)? } else { Vec::new() };
        let mount = mounts::read_only(&path)
            .with_context(|| format!("failed to make a read-only mount of {shown}"))?;
        Ok(Self { name, mount, applets })
    }

    /// Puts it into the container that this process is in by now.
    pub(super) fn lay(&self) -> Result<()> {
        mounts::separate("/proc")?;
        self.mount().with_context(|| {
            format!("failed to mount {} in the container, in {FOLDER}", self.name.display())
        })
    }

    fn mount(&self) -> io::Result<()> {
        let nowhere_else = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let folder = openat2(CWD, FOLDER, flags | OFlags::DIRECTORY, Mode::empty(), nowhere_else)?;
        let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let tools = mounts::create("tmpfs", &[("mode", "755")], quiet)?;
        let create = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(&tools, &self.name, create, Mode::from_raw_mode(0o755))?;
        for applet in self.applets.iter().filter(|applet| **applet != self.name) {
            symlinkat(&self.name, &tools, applet)?;
        }
        mounts::attach(&tools, &folder)?;
        mounts::attach(&self.mount, openat(&tools, &self.name, flags, Mode::empty())?)
    }

    /// The command, by the path that the program has in the container.
    pub(super) fn command(&self, command: &[OsString]) -> Vec<OsString> {
        let program = Path::new(FOLDER).join(&self.name).into_os_string();
        [program].into_iter().chain(command.iter().skip(1).cloned()).collect()
    }
}

/// Where a program is.
fn look_up(program: &OsStr) -> Result<PathBuf, NotExecuted> {
    let found = if program.as_encoded_bytes().contains(&b'/') {
        Some(PathBuf::from(program))
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
    };
    found.filter(|file| file.is_file()).ok_or_else(|| NotExecuted::Missing(program.to_owned()))
}

/// Whether the kernel alone can start it.
fn is_static(path: &Path) -> Result<bool> {
    let file = ReadCache::new(File::open(path)?);
    let header = FileHeader64::<Endianness>::parse(&file)?;
    let endian = header.endian()?;
    let segments = header.program_headers(endian, &file)?;
    Ok(segments.iter().all(|segment| segment.p_type(endian) != PT_INTERP))
}

/// The programs that a busybox is.
fn applets(busybox: &Path) -> Result<Vec<OsString>> {
    let listed = Command::new(busybox)
        .arg("--list")
        .output()
        .with_context(|| format!("failed to run {}", busybox.display()))?;
    let names = listed.stdout.split(|&byte| byte == b'\n').filter(|name| !name.is_empty());
    Ok(names.map(|name| OsString::from_vec(name.to_vec())).collect())
}
