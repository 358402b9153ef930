//! The layers of overlay mounts: which real file an overlay shows.
//!
//! The mount options in mountinfo name `upperdir` and each `lowerdir` as the runtime that mounted
//! them saw them. They are opened from the host's root; where they are not visible there
//! (relative options, other mount namespaces) nothing is found, and the caller falls back.

use std::{
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use procfs::process::MountInfo;
use rustix::fs::OFlags;

use super::file::{mount_id, open_beneath, open_file_beneath};
use crate::discover::{self, unescape_octal};

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
    find(&Host(discover::host(proc)), &mount, &inside, 0)
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
    let id = mount_id(fd)?;
    discover::mounts(process)
        .into_iter()
        .find(|mount| u64::try_from(mount.mnt_id) == Ok(id))
        .filter(|mount| mount.fs_type == "overlay")
}

/// The process in /proc whose mount namespace the layers' paths are looked up in.
struct Host(PathBuf);

fn find(host: &Host, mount: &MountInfo, inside: &Path, depth: usize) -> Vec<OwnedFd> {
    if depth == MAX_DEPTH {
        return Vec::new();
    }
    let Layers { upper, lower } = Layers::of(mount);
    let mut found = Vec::new();
    for (is_upper, dir) in
        upper.into_iter().map(|dir| (true, dir)).chain(lower.into_iter().map(|dir| (false, dir)))
    {
        // The layer's own path may lead through links (Docker's l/ABC → ../ID/diff); they are
        // the runtime's. Links inside the layer are the container's and stay inside.
        let dir_flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let Ok(layer) = open_beneath(&host.0.join("root"), &dir, dir_flags) else {
            continue;
        };
        let root = PathBuf::from(format!("/proc/self/fd/{}", layer.as_raw_fd()));
        let Ok(fd) = open_file_beneath(&root, inside, OFlags::NOFOLLOW) else {
            continue;
        };
        found.extend(below(host, fd, &dir.join(inside), depth));
        if !is_upper || found.len() > 1 {
            break;
        }
    }
    found
}

/// The real file of a layer's file: itself, unless the layer is on an overlay again.
fn below(host: &Host, fd: OwnedFd, path: &Path, depth: usize) -> Vec<OwnedFd> {
    let Some(mount) = overlay_mount(&host.0, fd.as_fd()) else {
        return vec![fd];
    };
    let Ok(inside) = path.strip_prefix(&mount.mount_point) else {
        return vec![fd];
    };
    let deeper = find(host, &mount, inside, depth + 1);
    if deeper.is_empty() { vec![fd] } else { deeper }
}

/// The absolute layer directories of an overlay mount.
#[derive(Debug, Default, PartialEq, Eq)]
struct Layers {
    upper: Option<PathBuf>,
    lower: Vec<PathBuf>,
}

impl Layers {
    fn of(mount: &MountInfo) -> Self {
        let option = |name: &str| mount.super_options.get(name)?.as_deref().map(unescape_octal);
        let absolute = |path: PathBuf| path.is_absolute().then_some(path);
        Self {
            upper: option("upperdir").map(|dir| PathBuf::from(unescape(&dir))).and_then(absolute),
            lower: option("lowerdir")
                .map(|dirs| split(&dirs).into_iter().filter_map(absolute).collect())
                .unwrap_or_default(),
        }
    }
}

/// Splits `lowerdir` at colons; a backslash takes the meaning from the next character
/// (Documentation/filesystems/overlayfs.rst). Data-only layers stand behind `::`.
fn split(dirs: &str) -> Vec<PathBuf> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in dirs.chars() {
        match c {
            '\\' if !escaped => escaped = true,
            ':' if !escaped => parts.push(String::new()),
            c => {
                escaped = false;
                if let Some(last) = parts.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    parts.into_iter().filter(|part| !part.is_empty()).map(PathBuf::from).collect()
}

fn unescape(dir: &str) -> String {
    let mut escaped = false;
    dir.chars()
        .filter(|&c| {
            escaped = c == '\\' && !escaped;
            !escaped
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Layers, split};
    use procfs::process::MountInfo;
    use std::path::PathBuf;

    fn layers(options: &str) -> Layers {
        let line = format!("36 35 0:52 / /merged rw,relatime - overlay overlay rw,{options}");
        Layers::of(&MountInfo::from_line(&line).unwrap())
    }

    #[test]
    fn docker_layers() {
        let expect = Layers {
            upper: Some("/var/lib/docker/overlay2/a/diff".into()),
            lower: vec!["/l/A".into(), "/l/B".into()],
        };
        let options = "lowerdir=/l/A:/l/B,upperdir=/var/lib/docker/overlay2/a/diff,workdir=/w";
        assert_eq!(layers(options), expect);
    }

    #[test]
    fn relative_layers_are_not_guessed() {
        assert_eq!(layers("lowerdir=l/A:l/B,upperdir=a/diff"), Layers::default());
    }

    #[test]
    fn escaped_and_data_layers() {
        let paths = |list: &[&str]| list.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(split(r"/a\:b:/c::/d"), paths(&["/a:b", "/c", "/d"]));
        assert_eq!(split(r"/a\\b"), paths(&[r"/a\b"]));
    }
}
