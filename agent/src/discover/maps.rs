//! The executable file mappings of one process, from /proc/PID/maps.

use std::{
    collections::HashSet,
    ffi::OsStr,
    io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
};

use procfs::{
    ProcError,
    process::{MMPermissions, MMapPath, Process},
};
use thiserror::Error;

use super::{ContainerPath, Mapping};

/// Why the mappings of a process are not known.
#[derive(Debug, Error)]
pub enum MapsError {
    /// The process went away. Expected at any time.
    #[error("process {0} is gone")]
    Gone(u32),
    /// /proc/PID/maps may not be read.
    #[error("not permitted to read /proc/{0}/maps (CAP_SYS_PTRACE is needed)")]
    Permission(u32),
    /// /proc/PID/maps could not be read or understood.
    #[error("failed to read /proc/{pid}/maps")]
    Unreadable {
        /// The process.
        pid: u32,
        /// What procfs said.
        #[source]
        source: ProcError,
    },
}

/// The files that the process maps executable, one entry a file.
pub fn mappings(proc: &Path, pid: u32) -> Result<Vec<Mapping>, MapsError> {
    let maps = Process::new_with_root(proc.join(pid.to_string()))
        .and_then(|process| process.maps())
        .map_err(|source| failure(pid, source))?;
    // As many as `vm.max_map_count` allows, each of another file.
    let (mut found, mut known) = (Vec::new(), HashSet::new());
    for map in maps {
        let MMapPath::Path(path) = map.pathname else {
            continue;
        };
        if !map.perms.contains(MMPermissions::EXECUTE) || map.inode == 0 {
            continue;
        }
        let mut mapping = mapping(map.address.0, map.address.1, path.into_os_string().into_vec());
        let device =
            (u64::from(map.dev.0.unsigned_abs()) << 32) | u64::from(map.dev.1.unsigned_abs());
        mapping.inode = Some((device, map.inode));
        if known.insert(mapping.path.clone()) {
            found.push(mapping);
        }
    }
    Ok(found)
}

fn failure(pid: u32, source: ProcError) -> MapsError {
    match source {
        ProcError::NotFound(_) => MapsError::Gone(pid),
        ProcError::PermissionDenied(_) => MapsError::Permission(pid),
        ProcError::Io(ref error, _) if error.raw_os_error() == Some(libc::ESRCH) => {
            MapsError::Gone(pid)
        }
        ProcError::Io(ref error, _) if error.kind() == io::ErrorKind::PermissionDenied => {
            MapsError::Permission(pid)
        }
        source => MapsError::Unreadable { pid, source },
    }
}

/// A mapping from the name that the kernel gives for it.
pub(super) fn mapping(start: u64, end: u64, name: Vec<u8>) -> Mapping {
    let (path, deleted) = match name.strip_suffix(b" (deleted)") {
        Some(path) => (path.to_vec(), true),
        None => (name, false),
    };
    let path = PathBuf::from(OsStr::from_bytes(&path));
    Mapping { start, end, path: ContainerPath::new(path), deleted, inode: None }
}
