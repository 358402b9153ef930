//! The processes that exist now.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
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
/// else the kernel's own threads, which share its root, else the agent itself.
///
/// Some nodes forbid everybody to look at their first process; an agent in a container has another
/// root.
pub fn host(proc: &Path) -> PathBuf {
    let seen = |process: &PathBuf| fs::metadata(process.join("root")).is_ok();
    [proc.join("1"), proc.join("2")]
        .into_iter()
        .enumerate()
        .find(|(at, process)| (*at == 0 || is_kernel_thread(process)) && seen(process))
        .map_or_else(|| proc.join("self"), |(_, process)| process)
}

/// Whether it is none that a container has started in a namespace of its own.
fn is_kernel_thread(process: &Path) -> bool {
    /// `PF_KTHREAD` (include/linux/sched.h).
    const KERNEL_THREAD: u32 = 0x0020_0000;
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    // The name stands in parentheses, and may have any letters. The flags are the 9th field.
    let flags = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(6));
    flags
        .and_then(|flags| flags.parse::<u32>().ok())
        .is_some_and(|flags| flags & KERNEL_THREAD != 0)
}

/// The roots in which the node's own files are looked for: that of the agent, and the node's where it
/// is another, as in a container.
pub fn roots(proc: &Path) -> Vec<PathBuf> {
    let own = PathBuf::from("/");
    let host = host(proc).join("root");
    let [seen, ours] = [&host, &own].map(|root| identity(root).ok());
    if seen == ours { vec![own] } else { vec![own, host] }
}

/// Which root directory a process has, by device and inode. `process` is its directory in /proc.
pub fn root(process: &Path) -> io::Result<(u64, u64)> {
    identity(&process.join("root"))
}

fn identity(folder: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(folder).map(|meta| (meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a /proc of processes, with what their first process has for a root.
    fn proc(processes: &[(&str, u32)]) -> tempfile::TempDir {
        let proc = tempfile::tempdir().unwrap();
        for (pid, flags) in processes {
            let process = proc.path().join(pid);
            fs::create_dir_all(process.join("root")).unwrap();
            let stat = format!("2 (a) b) S 0 0 0 0 -1 {flags} 0 0 0");
            fs::write(process.join("stat"), stat).unwrap();
        }
        proc
    }

    #[test]
    fn the_host_is_the_first_process_or_the_kernel() {
        let check = |processes: &[(&str, u32)], expect: &str| {
            let proc = proc(processes);
            assert_eq!(host(proc.path()), proc.path().join(expect));
        };
        check(&[("1", 0), ("2", 0x0020_8040)], "1");
        check(&[("2", 0x0020_8040)], "2");
        check(&[("2", 0x0040_0000)], "self");
        check(&[], "self");
    }

    #[test]
    fn another_root_is_looked_into_too() {
        let other = proc(&[("1", 0)]);
        let roots = roots(other.path());
        assert_eq!(roots, [PathBuf::from("/"), other.path().join("1/root")]);
    }
}
