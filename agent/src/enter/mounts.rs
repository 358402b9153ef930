//! A mount namespace of one's own, and what is mounted in it.
//!
//! Everything is put in place by descriptor, so that no path is looked up twice.

use std::{
    io,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, unshare};
use rustix::{
    fs::CWD,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags,
        OpenTreeFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change,
        move_mount, open_tree,
    },
};

use crate::discover;

/// Leaves the mount namespace for a copy, out of which nothing comes. What the host mounts and unmounts
/// goes on to happen in it: otherwise a file system would stay busy for as long as the command runs.
/// `below` is the mount below which mounts may be made.
pub(super) fn separate(below: &str) -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(io::Error::from)
        .and_then(|()| {
            let flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
            Ok(mount_change(below, flags)?)
        })
        .context("failed to make a private mount namespace (root is needed)")
}

/// The processes of the pid namespace that this process is in, in /proc.
pub(super) fn show_processes() -> Result<()> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    create("proc", &[], attributes)
        .and_then(|proc| cover(Path::new("/proc"), &proc, |_| true))
        .context("failed to mount a private /proc")
}

/// The devices of the network namespace that this process is in, in /sys/class/net. Few programs look
/// there, and where it is forbidden they see the host's.
pub(super) fn show_devices() {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let shown =
        create("sysfs", &[], attributes).and_then(|sys| cover(Path::new("/sys"), &sys, |_| true));
    if let Err(error) = shown {
        tracing::info!("/sys/class/net shows the host's devices: {error}");
    }
}

/// A file system that is mounted nowhere yet.
pub(super) fn create(
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (name, value) in options {
        fsconfig_set_string(&context, *name, *value)?;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Mounts over an open file or folder.
pub(super) fn attach(mount: impl AsFd, on: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, c"", on, c"", flags)?)
}

/// Mounts over a folder; what is mounted below it stays where it is, if it is to be kept.
pub(super) fn cover(
    folder: &Path,
    mount: &OwnedFd,
    keep: impl Fn(&Path) -> bool,
) -> io::Result<()> {
    let kept = below(folder, keep);
    move_mount(mount, c"", CWD, folder, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    for (path, tree) in kept {
        // The new file system need not have the folder.
        let put = move_mount(&tree, c"", CWD, &path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
        if let Err(error) = put {
            tracing::info!("{} is not there: {error}", path.display());
        }
    }
    Ok(())
}

/// Copies of what is mounted below a folder.
fn below(folder: &Path, keep: impl Fn(&Path) -> bool) -> Vec<(PathBuf, OwnedFd)> {
    let mut paths: Vec<_> = discover::mounts(Path::new("/proc/self"))
        .into_iter()
        .map(|mount| mount.mount_point)
        .filter(|path| path != folder && path.starts_with(folder) && keep(path))
        .collect();
    paths.sort();
    // A copy has with it what is mounted below.
    paths.dedup_by(|path, above| path.starts_with(above));
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_NO_AUTOMOUNT;
    // Fails for what may not be copied, and for what is covered itself.
    let copy = |path: PathBuf| Some((path.clone(), open_tree(CWD, &path, flags).ok()?));
    paths.into_iter().filter_map(copy).collect()
}

/// A copy of the mount that shows a file, with nothing but this file, through which nobody can write.
pub(super) fn read_only(file: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let copy = open_tree(CWD, file, flags)?;
    // SAFETY: plain integers, of which zeroes change nothing.
    let mut attributes: libc::mount_attr = unsafe { std::mem::zeroed() };
    attributes.attr_set = libc::MOUNT_ATTR_RDONLY;
    // SAFETY: the path is a C string, and the structure has the size that is told.
    let changed = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            copy.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    if changed == 0 { Ok(copy) } else { Err(io::Error::last_os_error()) }
}
