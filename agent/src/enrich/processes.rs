//! What is known about each process, read when it is first seen: later it may be gone.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::{
    Container, Process,
    cgroup::{self, ContainerId},
    containers::Lookup,
};
use crate::discover;

/// How long a process that ended is remembered: its last events may still be on their way.
const LINGER: Duration = Duration::from_secs(30);

/// Where a process lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Home {
    /// On the host, as far as can be seen.
    #[default]
    Host,
    /// In a container of a runtime.
    Container(ContainerId),
    /// Under a root of its own, with no runtime behind it.
    Root {
        /// Named after that root.
        name: String,
    },
}

impl Home {
    /// The container, with the names that `look_up` knows; `None` on the host. The flag says
    /// whether more may become known soon.
    pub(super) fn container(
        &self,
        look_up: impl FnOnce(&ContainerId) -> Lookup,
    ) -> (Option<Arc<Container>>, bool) {
        match self {
            Self::Host => (None, false),
            Self::Root { name } => {
                let named = Container { name: Some(name.clone()), ..Container::default() };
                (Some(named.into()), false)
            }
            Self::Container(id) => match look_up(id) {
                Lookup::Known(container) => (Some(container), false),
                unnamed => {
                    let container = Container {
                        id: Some(id.id.clone()),
                        runtime: id.runtime.as_deref().map(str::to_owned),
                        ..Container::default()
                    };
                    (Some(container.into()), unnamed == Lookup::Pending)
                }
            },
        }
    }
}

/// A process and its container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) process: Arc<Process>,
    pub(crate) home: Home,
}

/// All processes seen.
#[derive(Debug)]
pub struct Processes {
    proc: PathBuf,
    entries: Mutex<HashMap<u32, Entry>>,
    containers: AtomicU64,
}

#[derive(Debug)]
struct Entry {
    known: Arc<Known>,
    ended: Option<Instant>,
}

impl Processes {
    /// Reads from the given /proc.
    pub fn new(proc: impl Into<PathBuf>) -> Self {
        Self { proc: proc.into(), entries: Mutex::default(), containers: AtomicU64::new(0) }
    }

    /// What is known about a process; reads /proc if it was not seen before.
    pub(crate) fn know(&self, pid: u32) -> Arc<Known> {
        self.known(pid).unwrap_or_else(|| self.refresh(pid, None))
    }

    /// What is known about a process already.
    pub(super) fn known(&self, pid: u32) -> Option<Arc<Known>> {
        self.lock().get(&pid).map(|entry| Arc::clone(&entry.known))
    }

    /// A process executed a program: reads it anew. `command` serves where /proc does not.
    ///
    /// Gives what is known now.
    pub(crate) fn refresh(&self, pid: u32, command: Option<&str>) -> Arc<Known> {
        let mut known = read(&self.proc, pid).unwrap_or_default();
        let process = Arc::make_mut(&mut known.process);
        process.pid = pid;
        if process.command.is_none() {
            process.command = command.map(str::to_owned);
        }
        let mut entries = self.lock();
        if known.process.executable.is_none()
            && let Some(before) = entries.get(&pid)
        {
            // It went away while we looked; its container is the same as before the exec.
            known.home = before.known.home.clone();
        }
        // Counted again for each process that a runtime starts in it: that is seldom.
        if known.home != Home::Host
            && entries.get(&pid).is_none_or(|before| before.known.home != known.home)
        {
            self.containers.fetch_add(1, Ordering::Relaxed);
        }
        let known = Arc::new(known);
        entries.insert(pid, Entry { known: Arc::clone(&known), ended: None });
        known
    }

    /// How often a process came into a container: when it is the same, so are the containers.
    pub(crate) fn containers(&self) -> u64 {
        self.containers.load(Ordering::Relaxed)
    }

    /// A process was forked: it is what its parent is, until it says otherwise.
    ///
    /// Events of different CPUs may come in any order, so that it may have said so already.
    pub(crate) fn inherit(&self, pid: u32, parent: u32) {
        let Known { process, home } = &*self.know(parent);
        let process = Process { pid, ..Process::clone(process) }.into();
        let known = Arc::new(Known { process, home: home.clone() });
        let mut entries = self.lock();
        if entries.get(&pid).is_none_or(|entry| entry.ended.is_some()) {
            entries.insert(pid, Entry { known, ended: None });
        }
    }

    /// A process changed its name.
    pub(crate) fn rename(&self, pid: u32, command: String) {
        if let Some(entry) = self.lock().get_mut(&pid) {
            let known = Arc::make_mut(&mut entry.known);
            Arc::make_mut(&mut known.process).command = Some(command);
        }
    }

    /// A process ended.
    pub(crate) fn end(&self, pid: u32, now: Instant) {
        if let Some(entry) = self.lock().get_mut(&pid) {
            entry.ended = Some(now);
        }
    }

    /// Forgets the processes that ended some time ago.
    pub(crate) fn expire(&self, now: Instant) {
        self.lock()
            .retain(|_, entry| entry.ended.is_none_or(|ended| now.duration_since(ended) < LINGER));
    }

    /// The ids of the containers that processes live in, or have lived in a moment ago.
    pub(crate) fn lived_in(&self) -> HashSet<String> {
        let container = |entry: &Entry| match &entry.known.home {
            Home::Container(container) => Some(container.id.clone()),
            Home::Host | Home::Root { .. } => None,
        };
        self.lock().values().filter_map(container).collect()
    }

    /// Marks as ended all that are not in `alive`, which is sorted.
    pub(crate) fn retain(&self, alive: &[u32], now: Instant) {
        for (pid, entry) in self.lock().iter_mut() {
            if alive.binary_search(pid).is_err() {
                entry.ended.get_or_insert(now);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Entry>> {
        // No code that holds the lock panics half-way through a change.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a process from /proc. `None` when it is gone.
fn read(proc: &Path, pid: u32) -> Option<Known> {
    let dir = proc.join(pid.to_string());
    let command = fs::read(dir.join("comm")).ok()?;
    let command = String::from_utf8_lossy(command.trim_ascii_end()).into_owned();
    let executable = fs::read_link(dir.join("exe")).ok();
    let process = Process {
        pid,
        command: Some(command),
        executable: executable.map(|path| {
            let path = path.to_string_lossy();
            path.strip_suffix(" (deleted)").unwrap_or(&path).to_owned()
        }),
    };
    Some(Known { process: process.into(), home: home(proc, &dir) })
}

fn home(proc: &Path, dir: &Path) -> Home {
    let cgroup = fs::read(dir.join("cgroup")).unwrap_or_default();
    if let Some(container) = cgroup::from_cgroup(&String::from_utf8_lossy(&cgroup)) {
        return Home::Container(container);
    }
    if same_root(&discover::host(proc), dir) {
        return Home::Host;
    }
    from_mounts(dir)
}

/// Whether two processes have the same root directory. Many services have a mount namespace of
/// their own over the host's files; that makes no container.
fn same_root(one: &Path, other: &Path) -> bool {
    match (discover::root(one), discover::root(other)) {
        (Ok(one), Ok(other)) => one == other,
        // What cannot be compared is not called a container.
        _ => true,
    }
}

/// For a process with a root of its own: the container id in its mounts, else the root's name.
fn from_mounts(dir: &Path) -> Home {
    let mounts = discover::mounts(dir);
    let id = mounts.iter().find_map(|mount| cgroup::from_mount_root(Path::new(&mount.root)));
    if let Some(container) = id {
        return Home::Container(container);
    }
    let root = mounts.iter().rfind(|mount| mount.mount_point == Path::new("/"));
    let name = root
        .and_then(|mount| {
            let source = mount.mount_source.as_deref().filter(|_| mount.fs_type == "tmpfs");
            named(&mount.root).or_else(|| named(source?))
        })
        .or_else(|| namespace_name(dir));
    name.map_or(Home::Host, |name| Home::Root { name })
}

/// The last element of a root's path, or of its source, that says something: `web` of
/// `/srv/web/rootfs`.
fn named(path: &str) -> Option<String> {
    const HOLLOW: [&str; 8] = ["rootfs", "root", "merged", "diff", "fs", "tmpfs", "none", ""];
    path.rsplit('/').find(|name| !HOLLOW.contains(name)).map(str::to_owned)
}

/// `mnt-4026532288`, after the mount namespace.
fn namespace_name(dir: &Path) -> Option<String> {
    let link = fs::read_link(dir.join("ns/mnt")).ok()?;
    let link = link.to_str()?;
    Some(format!("mnt-{}", link.strip_prefix("mnt:[")?.strip_suffix(']')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_of_processes() {
        let processes = Processes::new("/nowhere");
        let container = ContainerId { id: "ab".repeat(32), runtime: None };
        let known = Known { home: Home::Container(container.clone()), ..Known::default() };
        let entry = Entry { known: known.into(), ended: None };
        processes.lock().insert(7, entry);
        processes.know(8);
        assert_eq!(processes.lived_in(), HashSet::from([container.id]));
        processes.end(7, Instant::now());
        processes.expire(Instant::now() + LINGER);
        assert_eq!(processes.lived_in(), HashSet::new());
    }

    #[test]
    fn names_of_roots() {
        assert_eq!(named("/srv/web/rootfs").as_deref(), Some("web"));
        assert_eq!(named("/var/lib/machines/db").as_deref(), Some("db"));
        assert_eq!(named("demo").as_deref(), Some("demo"));
        assert_eq!(named("/"), None);
        assert_eq!(named("tmpfs"), None);
    }
}
