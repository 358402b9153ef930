//! Mapped files, opened, with the identity of the *real* file.
//!
//! A uprobe lands on the inode under an overlay, so that is what makes a file one file: two
//! containers of one image show two device numbers for it. This is the one place where a
//! container's path becomes something the host opens.

use std::{
    fmt,
    fs::{File, Metadata},
    io,
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::{Path, PathBuf},
};

use procfs::process::MountInfo;
use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, StatxFlags},
    io::Errno,
};
use thiserror::Error;

use super::overlay;
use crate::discover::Mapping;

/// Names one real file, whatever the number of mounts that show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKey {
    /// Device and inode of the file itself.
    Inode {
        /// `st_dev`.
        device: u64,
        /// `st_ino`.
        inode: u64,
    },
    /// The file lies in an overlay layer that is not visible from here. An overlay shows the
    /// real file's inode number and times; a copy-up changes `ctime`.
    Fingerprint {
        /// `st_ino` as the overlay shows it.
        inode: u64,
        /// Bytes.
        size: u64,
        /// Modification time, nanoseconds since the epoch.
        modified: i128,
        /// Change time, nanoseconds since the epoch.
        changed: i128,
    },
}

impl FileKey {
    /// Whether both can be the same file, one of them as an overlay shows it.
    pub(crate) fn may_be(self, other: Self) -> bool {
        match (self, other) {
            (Self::Inode { inode, .. }, Self::Fingerprint { inode: shown, .. })
            | (Self::Fingerprint { inode: shown, .. }, Self::Inode { inode, .. }) => inode == shown,
            _ => false,
        }
    }
}

impl fmt::Display for FileKey {
    /// Opaque; equal for equal files.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inode { device, inode } => write!(f, "{device:x}:{inode:x}"),
            Self::Fingerprint { inode, size, modified, changed } => {
                write!(f, "{inode:x}-{size:x}-{modified:x}-{changed:x}")
            }
        }
    }
}

/// An open file and what it is.
#[derive(Debug)]
pub struct RealFile {
    /// Open for reading; probes go through this descriptor.
    pub file: File,
    /// The identity.
    pub key: FileKey,
    /// What changes when the contents change.
    pub stamp: Stamp,
}

impl RealFile {
    /// The same file as it is now. `None` where an overlay hides it, so that it is known by what changes.
    pub(crate) fn again(&self) -> Option<Self> {
        let file = self.file.try_clone().ok()?;
        let stamp = Stamp::of(&file.metadata().ok()?);
        matches!(self.key, FileKey::Inode { .. }).then_some(Self { file, key: self.key, stamp })
    }
}

/// Tells one state of a file from another: an inode number may be given anew, and a file may be
/// written again in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Stamp {
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(meta: &Metadata) -> Self {
        Self { size: meta.size(), changed: (meta.ctime(), meta.ctime_nsec()) }
    }
}

/// Why a mapped file could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The process went away, or unmapped the file. Expected at any time.
    #[error("the mapping is gone")]
    Gone,
    /// Opening needs a privilege that the agent lacks.
    #[error("not permitted to open it (CAP_SYS_PTRACE and CAP_CHECKPOINT_RESTORE are needed)")]
    Permission,
    /// It is a FIFO, a device, a directory.
    #[error("not a regular file")]
    NotRegular,
    /// The system refused.
    #[error("failed to open it")]
    Refused(#[source] io::Error),
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT | Errno::SRCH | Errno::NOTDIR => Self::Gone,
            Errno::ACCESS | Errno::PERM => Self::Permission,
            errno => Self::Refused(errno.into()),
        }
    }
}

/// Opens the real files behind a mapping of a process; the first is the one that the path means
/// now.
///
/// There is a second one when the file was copied up to the container's own layer: processes that
/// mapped it before still run the lower layer's code, and nothing tells which one this process
/// has.
pub fn open(proc: &Path, pid: u32, mapping: &Mapping) -> Result<Vec<RealFile>, OpenError> {
    let process = proc.join(pid.to_string());
    let fd = open_mapped(&process, mapping)?;
    real_files(proc, &process, fd, mapping.path.as_container_path())
}

/// Opens the real files behind a path inside a root: `path` is taken inside the directory `root`
/// of the host. `process` is the directory in /proc of a process that lives in the mount
/// namespace which that directory is in. Also gives where links have led to, in that namespace.
pub fn open_in_root(
    proc: &Path,
    process: &Path,
    root: &Path,
    path: &Path,
) -> Result<(PathBuf, Vec<RealFile>), OpenError> {
    let fd = open_file_beneath(root, path, OFlags::empty())?;
    // The kernel names it from the root of the mount namespace (d_path).
    let led = std::fs::read_link(descriptor_path(&fd)).map_err(OpenError::Refused)?;
    let files = real_files(proc, process, fd, &led)?;
    Ok((led, files))
}

fn real_files(
    proc: &Path,
    process: &Path,
    fd: OwnedFd,
    path: &Path,
) -> Result<Vec<RealFile>, OpenError> {
    let layers = overlay::layers(proc, process, fd.as_fd(), path);
    let mut files: Vec<RealFile> = Vec::new();
    for layer in layers {
        let real = identify(layer)?;
        if !files.iter().any(|known| known.key == real.key) {
            files.push(real);
        }
    }
    if files.is_empty() {
        files.push(fingerprint_or_inode(fd, process)?);
    }
    Ok(files)
}

/// How a file is named without opening it: opening sets up devices, such as a watchdog.
pub(super) const NAMED: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Opens by /proc/PID/map_files, which gives the mapped file whatever its path means now; where
/// that may not be used, by the path under the process's root.
fn open_mapped(process: &Path, mapping: &Mapping) -> Result<OwnedFd, OpenError> {
    let range = format!("{:x}-{:x}", mapping.start, mapping.end);
    match rustix::fs::open(process.join("map_files").join(range), NAMED, Mode::empty()) {
        Ok(fd) => readable(&fd),
        Err(Errno::NOENT | Errno::PERM | Errno::ACCESS) if !mapping.deleted => {
            let root = process.join("root");
            open_file_beneath(&root, mapping.path.as_container_path(), OFlags::empty())
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a path as it is inside `root`: links are resolved there, none leads out.
pub(super) fn open_beneath(root: &Path, path: &Path, flags: OFlags) -> Result<OwnedFd, OpenError> {
    let dir = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(root, dir, Mode::empty())?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    Ok(rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// Opens a regular file for reading as [`open_beneath`] does; nothing else is opened.
pub(crate) fn open_file_beneath(
    root: &Path,
    path: &Path,
    flags: OFlags,
) -> Result<OwnedFd, OpenError> {
    readable(&open_beneath(root, path, NAMED | flags)?)
}

/// Opens what is named, if it is a regular file.
pub(super) fn readable(named: &OwnedFd) -> Result<OwnedFd, OpenError> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(named)?.st_mode);
    if kind != FileType::RegularFile {
        return Err(OpenError::NotRegular);
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    Ok(rustix::fs::open(descriptor_path(&named), flags, Mode::empty())?)
}

fn identify(fd: OwnedFd) -> Result<RealFile, OpenError> {
    let file = File::from(fd);
    let meta = file.metadata().map_err(OpenError::Refused)?;
    let key = FileKey::Inode { device: meta.dev(), inode: meta.ino() };
    Ok(RealFile { file, key, stamp: Stamp::of(&meta) })
}

/// A file that no overlay hides.
#[cfg(test)]
pub(crate) fn identified(path: &Path) -> RealFile {
    identify(File::open(path).unwrap().into()).unwrap()
}

/// The identity of a file that no visible overlay layer holds.
fn fingerprint_or_inode(fd: OwnedFd, process: &Path) -> Result<RealFile, OpenError> {
    if !overlay::is_overlay(process, fd.as_fd()) {
        return identify(fd);
    }
    let file = File::from(fd);
    let meta = file.metadata().map_err(OpenError::Refused)?;
    let nanoseconds = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
    let key = FileKey::Fingerprint {
        inode: meta.ino(),
        size: meta.size(),
        modified: nanoseconds(meta.mtime(), meta.mtime_nsec()),
        changed: nanoseconds(meta.ctime(), meta.ctime_nsec()),
    };
    Ok(RealFile { file, key, stamp: Stamp::of(&meta) })
}

/// The id of the mount that an open file was reached through, as in mountinfo (Linux 5.8).
pub(super) fn mount_id(fd: BorrowedFd<'_>) -> Option<u64> {
    let statx = rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?;
    StatxFlags::from_bits_retain(statx.stx_mask)
        .contains(StatxFlags::MNT_ID)
        .then_some(statx.stx_mnt_id)
}

/// The one of these mounts that an open file was reached through.
pub(crate) fn mount_of(mounts: &[MountInfo], fd: impl AsFd) -> Option<&MountInfo> {
    let id = mount_id(fd.as_fd())?;
    mounts.iter().find(|mount| u64::try_from(mount.mnt_id) == Ok(id))
}

/// The path by which this process can open the same file again, while the file stays open.
pub(crate) fn descriptor_path(file: &impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()))
}
