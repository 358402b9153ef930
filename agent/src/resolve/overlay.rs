//! The layers of overlay mounts: which real file an overlay shows.
//!
//! The mount options in mountinfo name `upperdir` and each `lowerdir` as the runtime that mounted
//! them saw them. They are opened from the host's root; where they are not visible there
//! (relative options, other mount namespaces) nothing is found, and the caller falls back.
//!
//! A container that may mount can write any path of the host into its options. So what lies there is opened
//! only when it is what the overlay shows.

use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use procfs::process::MountInfo;
use rustix::fs::{OFlags, Stat};

use super::file::{NAMED, descriptor_path, mount_id, open_beneath, readable};
use crate::discover::{self, Layers};

/// `OVERLAYFS_SUPER_MAGIC` (include/uapi/linux/magic.h).
const OVERLAYFS: rustix::fs::FsWord = 0x794c_7630;

/// Overlays on overlays are followed this deep (Linux allows 2: `FILESYSTEM_MAX_STACK_DEPTH`).
const MAX_DEPTH: usize = 3;

/// The layers' own files for an open file on an overlay, from the top. `path` is the file's in
/// the mount namespace of the process whose directory in /proc is `process`. At most two: the one that
/// the overlay shows and, when that is in the upper layer, the first below. Empty when the file
/// is not on an overlay or no layer is visible.
pub(super) fn layers(proc: &Path, process: &Path, fd: BorrowedFd<'_>, path: &Path) -> Vec<OwnedFd> {
    let Some(mount) = overlay_mount(process, fd) else {
        return Vec::new();
    };
    let Ok(inside) = path.strip_prefix(&mount.mount_point) else {
        return Vec::new();
    };
    let inside = Path::new(mount.root.trim_start_matches('/')).join(inside);
    let Ok(shown) = rustix::fs::fstat(fd) else {
        return Vec::new();
    };
    find(&Host(discover::host(proc)), &mount, &inside, &shown, 0)
}

/// Whether the open file is on an overlay.
pub(super) fn is_overlay(process: &Path, fd: BorrowedFd<'_>) -> bool {
    overlay_mount(process, fd).is_some()
}

fn overlay_mount(process: &Path, fd: BorrowedFd<'_>) -> Option<MountInfo> {
    // Most files are not on an overlay, and a mountinfo can be long.
    if rustix::fs::fstatfs(fd).is_ok_and(|stat| stat.f_type != OVERLAYFS) {
        return None;
    }
    discover::mount(process, mount_id(fd)?).filter(|mount| mount.fs_type == "overlay")
}

/// The process in /proc whose mount namespace the layers' paths are looked up in.
struct Host(PathBuf);

impl Host {
    /// Whether it has an overlay mounted that a process sees: then its layers are the node's own folders, as
    /// a runtime named them. Runtimes of users mount in namespaces of their own.
    fn mounted(&self, overlay: &MountInfo) -> bool {
        discover::mounts(&self.0).iter().any(|mount| mount.majmin == overlay.majmin)
    }
}

fn find(host: &Host, mount: &MountInfo, inside: &Path, shown: &Stat, depth: usize) -> Vec<OwnedFd> {
    if depth == MAX_DEPTH {
        return Vec::new();
    }
    let Layers { upper, lower, data_only, .. } = Layers::of(mount).absolute();
    let lower = lower.into_iter().chain(data_only);
    let mut found = Vec::new();
    for (is_upper, dir) in
        upper.into_iter().map(|dir| (true, dir)).chain(lower.map(|dir| (false, dir)))
    {
        // The layer's own path may lead through links (Docker's l/ABC → ../ID/diff); they are
        // the runtime's. Links inside the layer are the container's and stay inside.
        let Ok(layer) = open_beneath(&host.0.join("root"), &dir, NAMED | OFlags::DIRECTORY) else {
            continue;
        };
        let root = descriptor_path(&layer);
        let Ok(named) = open_beneath(&root, inside, NAMED | OFlags::NOFOLLOW) else {
            continue;
        };
        // What is below the upper layer's has other times: the mount is to be believed then.
        let believed = if found.is_empty() { is_shown(&named, shown) } else { host.mounted(mount) };
        let Some(fd) = believed.then(|| readable(&named).ok()).flatten() else {
            continue;
        };
        found.extend(below(host, fd, &dir.join(inside), shown, depth));
        if !is_upper || found.len() > 1 {
            break;
        }
    }
    found
}

/// Whether an overlay shows this file as `shown`: it shows the times of the real one, and nobody can set the
/// time of change.
fn is_shown(named: &OwnedFd, shown: &Stat) -> bool {
    let told = |stat: &Stat| {
        let times = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
        (stat.st_mode, stat.st_size, times)
    };
    rustix::fs::fstat(named).is_ok_and(|stat| told(&stat) == told(shown))
}

/// The real file of a layer's file: itself, unless the layer is on an overlay again.
fn below(host: &Host, fd: OwnedFd, path: &Path, shown: &Stat, depth: usize) -> Vec<OwnedFd> {
    let Some(mount) = overlay_mount(&host.0, fd.as_fd()) else {
        return vec![fd];
    };
    let Ok(inside) = path.strip_prefix(&mount.mount_point) else {
        return vec![fd];
    };
    let deeper = find(host, &mount, inside, shown, depth + 1);
    if deeper.is_empty() { vec![fd] } else { deeper }
}
