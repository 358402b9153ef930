//! The node's own files and mounts: what a path of the host means, and under which path of the host
//! something lies that was opened in a container.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use procfs::process::MountInfo;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use crate::{discover, resolve::descriptor_path};

/// How a file is named without opening it: opening sets devices to work, and waits for the other end of
/// a FIFO.
pub(super) const NAMED: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// The mount namespace of the node.
#[derive(Debug)]
pub(super) struct Node {
    root: OwnedFd,
    mounts: Vec<MountInfo>,
}

impl Node {
    /// Looks at it as the given /proc shows it.
    pub(super) fn open(proc: &Path) -> io::Result<Self> {
        let host = discover::host(proc);
        let flags = NAMED | OFlags::DIRECTORY;
        let root = rustix::fs::open(host.join("root"), flags, Mode::empty())?;
        Ok(Self { root, mounts: discover::mounts(&host) })
    }

    /// Opens a path that the node itself, or a runtime, names; links in it are theirs.
    pub(super) fn named(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, NAMED, Mode::empty(), resolve)
    }

    /// Whether there is something under a path.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.named(path).is_ok()
    }

    /// The mounts of a file system on the node.
    pub(super) fn mounts_of<'a>(&'a self, device: &'a str) -> impl Iterator<Item = &'a MountInfo> {
        self.mounts.iter().filter(move |mount| mount.majmin == device)
    }

    /// Whether a mount is one of the node's.
    pub(super) fn has_mount(&self, id: i32) -> bool {
        self.mounts.iter().any(|mount| mount.mnt_id == id)
    }

    /// The paths of the host under which something lies: `within` its file system, whose device is
    /// `device`. What lies there now is the same as `stat`, and no link leads there. The first is the
    /// one where most of the file system is to be seen.
    pub(super) fn paths_of(&self, device: &str, within: &Path, stat: &Stat) -> Vec<PathBuf> {
        let mut mounts: Vec<_> = self.mounts_of(device).collect();
        mounts.sort_by_key(|mount| (mount.root.len(), mount.mount_point.as_os_str().len()));
        let paths = mounts.into_iter().filter_map(|mount| {
            let rest = within.strip_prefix(&mount.root).ok()?;
            let path = join(&mount.mount_point, rest);
            let found = rustix::fs::fstat(self.unlinked(&path).ok()?).ok()?;
            is_same(&found, stat).then_some(path)
        });
        paths.collect()
    }

    /// Opens a path in which nothing is a link.
    fn unlinked(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
        let flags = NAMED | OFlags::NOFOLLOW;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve)
    }
}

/// Whether these are of one file.
pub(super) fn is_same(one: &Stat, other: &Stat) -> bool {
    (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
}

/// Where an open file lies, from the root of the mount namespace that it was opened in (d_path).
pub(super) fn path_of(file: impl AsFd) -> io::Result<PathBuf> {
    fs::read_link(descriptor_path(&file))
}

/// Opens a path below an open directory. Nothing in it may be a link, and no mount is crossed.
pub(super) fn beneath(folder: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    rustix::fs::openat2(folder, path, NAMED | OFlags::NOFOLLOW, Mode::empty(), resolve)
}

/// The names in a folder that is named, in order.
pub(super) fn names(folder: &OwnedFd) -> io::Result<Vec<OsString>> {
    let entries = fs::read_dir(descriptor_path(folder))?;
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// The path with a part of it behind; [`Path::join`] ends in a slash when there is none.
pub(super) fn join(path: &Path, rest: &Path) -> PathBuf {
    let rest = rest.strip_prefix("/").unwrap_or(rest);
    if rest.as_os_str().is_empty() { path.to_owned() } else { path.join(rest) }
}

/// The path of something that was removed, as the kernel shows it.
pub(super) fn without_deleted(path: &Path) -> Option<&Path> {
    let path = path.as_os_str().as_bytes().strip_suffix(b" (deleted)")?;
    Some(Path::new(OsStr::from_bytes(path)))
}
