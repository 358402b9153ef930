//! The mounts of a process, also of one whose root is no mount.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use procfs::process::MountInfo;

use super::node::{join, path_of};
use crate::{discover, resolve};

/// The mounts that a process's paths lead to.
#[derive(Debug)]
pub(super) struct Table {
    mounts: Vec<MountInfo>,
    /// The process's root, from the root of its mount namespace.
    root: PathBuf,
    /// Whether the mounts are those of the whole namespace, with their points counted from its root. A
    /// process sees no mounts but those below its root, and after chroot(2) that need not be one.
    whole: bool,
}

impl Table {
    /// Of the process with this directory in /proc, whose root directory is open.
    pub(super) fn of(proc: &Path, process: &Path, root: &OwnedFd) -> Self {
        let path = path_of(root).unwrap_or_else(|_| "/".into());
        let own = discover::mounts(process);
        let holds = |mounts: &[MountInfo]| resolve::mount_of(mounts, root).is_some();
        if holds(&own) {
            return Self { mounts: own, root: path, whole: false };
        }
        let others = neighbours(proc, process).map(|process| discover::mounts(&process));
        match others.into_iter().find(|mounts| holds(mounts)) {
            Some(mounts) => Self { mounts, root: path, whole: true },
            None => Self { mounts: own, root: path, whole: false },
        }
    }

    /// The mount that an open file was reached through.
    pub(super) fn mount(&self, file: &OwnedFd) -> Option<&MountInfo> {
        resolve::mount_of(&self.mounts, file)
    }

    /// All mounts, each with its point as the process names it.
    pub(super) fn points(&self) -> impl Iterator<Item = (PathBuf, &MountInfo)> {
        self.mounts.iter().filter_map(|mount| {
            let point = &mount.mount_point;
            let inside = if self.whole { self.inside(point)? } else { point.clone() };
            Some((inside, mount))
        })
    }

    /// A path from the root of the namespace, as the process names it.
    pub(super) fn inside(&self, path: &Path) -> Option<PathBuf> {
        Some(Path::new("/").join(path.strip_prefix(&self.root).ok()?))
    }

    /// Where something lies in the file system of its mount; `path` is its own, from the root of the
    /// namespace.
    pub(super) fn within(&self, mount: &MountInfo, path: &Path) -> Option<PathBuf> {
        let path = if self.whole { path.to_owned() } else { self.inside(path)? };
        Some(join(Path::new(&mount.root), path.strip_prefix(&mount.mount_point).ok()?))
    }
}

/// The other processes of its mount namespace, by their directories in /proc: the node's first one,
/// then all.
fn neighbours(proc: &Path, process: &Path) -> impl Iterator<Item = PathBuf> {
    let namespace = fs::read_link(process.join("ns/mnt")).ok();
    let all = discover::processes(proc).unwrap_or_default();
    let all = all.into_iter().map(|pid| proc.join(pid.to_string()));
    [discover::host(proc)]
        .into_iter()
        .chain(all)
        .filter(move |other| fs::read_link(other.join("ns/mnt")).ok() == namespace)
}
