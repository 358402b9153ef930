//! What /proc says about a process.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context as _, Result};

/// Resident memory in KiB.
pub fn resident_kib(pid: u32) -> Result<u64> {
    memory_kib(pid, "VmRSS:")
}

/// The most resident memory that it had so far, in KiB.
pub fn peak_kib(pid: u32) -> Result<u64> {
    memory_kib(pid, "VmHWM:")
}

/// Resident memory without files and what is shared, in KiB.
pub fn anonymous_kib(pid: u32) -> Result<u64> {
    memory_kib(pid, "RssAnon:")
}

fn memory_kib(pid: u32, which: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(which));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.with_context(|| format!("no {which}"))?.parse().context("it is no number")
}

/// A process's use of the processor since a moment.
pub struct Load {
    pid: u32,
    since: Instant,
    before_ns: u64,
}

impl Load {
    /// From now on.
    pub fn of(pid: u32) -> Result<Self> {
        Ok(Self { pid, since: Instant::now(), before_ns: cpu_ns(pid)? })
    }

    /// Its share of one core until now, in thousandths of a per cent.
    pub fn share(&self) -> Result<u128> {
        let used = u128::from(cpu_ns(self.pid)?.saturating_sub(self.before_ns));
        Ok(used * 100_000 / self.since.elapsed().as_nanos())
    }
}

/// Time on a processor, of all threads that live, in nanoseconds.
fn cpu_ns(pid: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let times = fs::read_to_string(thread?.path().join("schedstat"))?;
        let time = times.split_whitespace().next().context("empty schedstat")?;
        sum += time.parse::<u64>().context("schedstat is no number")?;
    }
    Ok(sum)
}

/// How often its first thread went to sleep by itself.
pub fn sleeps(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mut lines = status.lines();
    let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.context("no voluntary_ctxt_switches")?.trim().parse().context("they are no number")
}

/// Under how many seccomp filters it is.
pub fn seccomp_filters(pid: u32) -> Result<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let count = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
    count.context("no Seccomp_filters")?.trim().parse().context("they are no number")
}

/// Whether it has ended, reaped or not.
pub fn ended(pid: u32) -> bool {
    // The state follows the command name, which is in parentheses.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Number of open descriptors.
pub fn descriptors(pid: u32) -> Result<usize> {
    Ok(fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

/// All processes whose environment holds this line, such as the children of a marked one.
pub fn with_environment(entry: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for folder in fs::read_dir("/proc")? {
        let folder = folder?.path();
        let pid = folder.file_name().and_then(|name| name.to_str()?.parse().ok());
        if let Some(pid) = pid
            && environment_holds(&folder, entry)
        {
            found.push(pid);
        }
    }
    Ok(found)
}

/// The processes of this name whose parent has ended. Those that are exiting count: their memory is
/// gone, their descriptors may not be.
pub fn orphans(name: &str) -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for folder in fs::read_dir("/proc")? {
        let stat = fs::read_to_string(folder?.path().join("stat")).unwrap_or_default();
        let Some((head, rest)) = stat.rsplit_once(") ") else { continue };
        let Some((pid, command)) = head.split_once(" (") else { continue };
        // One that has exited and was not waited for holds nothing.
        let exited = rest.starts_with(['Z', 'X']);
        if command == name && !exited && rest.split_whitespace().nth(1) == Some("1") {
            found.extend(pid.parse::<u32>());
        }
    }
    Ok(found)
}

fn environment_holds(folder: &Path, entry: &str) -> bool {
    // A process that went meanwhile holds nothing.
    let environment = fs::read(folder.join("environ")).unwrap_or_default();
    environment.split(|&byte| byte == 0).any(|line| line == entry.as_bytes())
}
