//! Copies of what lies in a container.
//!
//! A copy belongs to whoever makes it, and is never privileged: no owner, no set-user-id bit, no device.

use std::{
    fs::{DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{FileType, FsWord, Mode, OFlags, Stat, Timespec, Timestamps};

use super::{Entry, Tree, live::shown, stopped::link};
use crate::resolve::descriptor_path;

/// File systems whose files are made as they are read, and have no end (include/uapi/linux/magic.h).
const MADE_UP: [FsWord; 10] = [
    0x9fa0,                    // proc
    0x6265_6572,               // sysfs
    0x0027_e0eb,               // cgroup
    0x6367_7270,               // cgroup2
    0x1cd1,                    // devpts
    0x1980_0202,               // mqueue
    0x6462_6720,               // debugfs
    0x7472_6163,               // tracefs
    0x7363_6673,               // securityfs
    0xcafe_4a11_u32 as FsWord, // bpf
];

/// Copies a file, or a folder with what is in it, to a path that is not there yet, or into a folder. What
/// is neither a file, a folder nor a link is left out and told to `note`.
pub(super) fn copy(
    tree: &dyn Tree,
    entry: &Entry,
    to: &Path,
    note: &mut dyn FnMut(&str),
) -> Result<PathBuf> {
    let name = entry.inside.file_name().unwrap_or("root".as_ref());
    let to = if to.is_dir() { to.join(name) } else { to.to_owned() };
    let kind = FileType::from_raw_mode(entry.stat.st_mode);
    ensure!(
        matches!(kind, FileType::RegularFile | FileType::Directory),
        "{} is neither a file nor a folder",
        shown(&entry.inside)
    );
    one(tree, entry, &to, note)?;
    Ok(to)
}

fn one(tree: &dyn Tree, entry: &Entry, to: &Path, note: &mut dyn FnMut(&str)) -> Result<()> {
    let failed = || format!("failed to copy {} to {}", shown(&entry.inside), shown(to));
    match FileType::from_raw_mode(entry.stat.st_mode) {
        FileType::RegularFile => file(entry, to).with_context(failed),
        FileType::Directory => folder(tree, entry, to, note),
        FileType::Symlink => {
            let target = link(entry).with_context(failed)?;
            symlink(target, to).with_context(failed)
        }
        _ => {
            note(&format!("{} is left out: it is no file", shown(&entry.inside)));
            Ok(())
        }
    }
}

fn file(entry: &Entry, to: &Path) -> io::Result<()> {
    let mut from = readable(entry)?;
    let mut copy = File::options().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut from, &mut copy)?;
    finish(&copy, &entry.stat)
}

fn folder(tree: &dyn Tree, entry: &Entry, to: &Path, note: &mut dyn FnMut(&str)) -> Result<()> {
    let failed = || format!("failed to make {}", shown(to));
    // Nobody else may put anything into it until it is whole.
    DirBuilder::new().mode(0o700).create(to).with_context(failed)?;
    for name in tree.names(entry)? {
        let child = match tree.child(entry, &name) {
            Ok(child) => child,
            // It was removed meanwhile, or cannot be looked at.
            Err(error) => {
                note(&format!("left out: {error:#}"));
                continue;
            }
        };
        if is_made_up(&child) {
            note(&format!("{} is left out: the kernel makes it up", shown(&child.inside)));
            continue;
        }
        one(tree, &child, &to.join(&name), note)?;
    }
    finish(&File::open(to).with_context(failed)?, &entry.stat).with_context(failed)
}

/// Gives a copy the permissions and the time of what it is copied from.
fn finish(copy: &File, stat: &Stat) -> io::Result<()> {
    copy.set_permissions(Permissions::from_mode(stat.st_mode & 0o777))?;
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec.cast_signed() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::futimens(copy, &times)?)
}

fn is_made_up(entry: &Entry) -> bool {
    rustix::fs::fstatfs(&entry.file).is_ok_and(|stat| MADE_UP.contains(&stat.f_type))
}

/// Opens what is named, if it is a regular file: anything else may wait, or do something, when opened.
pub(super) fn readable(entry: &Entry) -> io::Result<File> {
    if FileType::from_raw_mode(entry.stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("not a regular file"));
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(rustix::fs::open(descriptor_path(&entry.file), flags, Mode::empty())?.into())
}
