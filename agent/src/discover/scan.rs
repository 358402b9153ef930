//! The processes that exist now.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The ids of all processes in the given /proc, in ascending order. Kernel threads are among
/// them; they map no files.
pub fn processes(proc: &Path) -> io::Result<Vec<u32>> {
    let mut pids: Vec<u32> = fs::read_dir(proc)?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    Ok(pids)
}

/// The directory in /proc of a process that has the node's own root and mounts: the first one,
/// or the agent itself where that one may not be looked at.
pub fn host(proc: &Path) -> PathBuf {
    let first = proc.join("1");
    if fs::metadata(first.join("root")).is_ok() { first } else { proc.join("self") }
}
