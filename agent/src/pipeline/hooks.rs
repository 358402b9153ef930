//! discover → resolve → attach: each mapped TLS library is probed once.
//!
//! Runs on a thread of its own, since attaching takes milliseconds.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use crate::{
    attach::{Attachment, Programs, Registry, User},
    discover::{self, BuildId, Event, Mapping, MapsError},
    enrich::{Libraries, Library},
    resolve::{self, FileKey, OpenError, RealFile, Resolution},
};

/// Builds and files that are remembered; a node runs far fewer.
const MAX_REMEMBERED: usize = 65_536;

/// The state of the hooking thread.
pub(super) struct Hooks {
    proc: PathBuf,
    programs: Programs,
    registry: Registry<Attachment>,
    libraries: Arc<Libraries>,
    /// Builds that have no TLS code: seen again, they cost no file access.
    unrelated: HashSet<BuildId>,
    /// Files that were looked at and are not probed.
    unprobed: HashMap<FileKey, Unprobed>,
    /// Processes of which was said that they cannot be looked at.
    unreadable: HashSet<u32>,
    /// Mount namespaces whose libraries were looked for, by inode.
    namespaces: HashSet<u64>,
    /// Libraries whose version is not known yet, and how often it was looked for.
    unversioned: HashMap<u32, u8>,
}

/// A file that is not probed, until it changes.
struct Unprobed {
    stamp: resolve::Stamp,
    /// Whether it contains TLS code all the same.
    related: bool,
}

impl Hooks {
    pub(super) fn new(proc: PathBuf, programs: Programs, libraries: Arc<Libraries>) -> Self {
        Self {
            proc,
            programs,
            registry: Registry::default(),
            libraries,
            unrelated: HashSet::new(),
            unprobed: HashMap::new(),
            unreadable: HashSet::new(),
            namespaces: HashSet::new(),
            unversioned: HashMap::new(),
        }
    }

    /// How many libraries are probed, and how many processes use them.
    pub(super) fn count(&self) -> (usize, usize) {
        self.registry.count()
    }

    /// Looks at the host's own libraries and at every process: the first thing to do.
    pub(super) fn begin(&mut self) {
        let host = discover::host(&self.proc);
        if let Ok(namespace) = fs::metadata(host.join("ns/mnt")) {
            self.namespaces.insert(namespace.ino());
        }
        // The root of everything stays mounted.
        self.explore(&host, Path::new("/"), User::Mount(0));
        self.scan();
    }

    /// Looks at every process.
    pub(super) fn scan(&mut self) {
        let pids = match discover::processes(&self.proc) {
            Ok(pids) => pids,
            Err(error) => {
                tracing::error!(%error, "failed to list {}", self.proc.display());
                return;
            }
        };
        // A file that was found to be unrelated once in this scan is not opened again. Device
        // and inode may be given anew later, so that holds for one scan only.
        let mut unrelated = HashSet::new();
        // The agent's own strings would look like a library to it.
        for &pid in pids.iter().filter(|&&pid| pid != std::process::id()) {
            self.scan_process(pid, &mut unrelated);
        }
        let now = Instant::now();
        self.registry.retain_processes(&pids.into_iter().collect(), now);
        self.registry.expire(now);
    }

    fn scan_process(&mut self, pid: u32, unrelated: &mut HashSet<(u64, u64)>) {
        match discover::mappings(&self.proc, pid) {
            Ok(mappings) => {
                for mapping in mappings {
                    if mapping.inode.is_some_and(|inode| unrelated.contains(&inode)) {
                        continue;
                    }
                    if !self.sight(pid, &mapping) {
                        unrelated.extend(mapping.inode);
                    }
                }
            }
            Err(MapsError::Gone(_)) => {}
            Err(error) => {
                if self.unreadable.insert(pid) {
                    tracing::warn!(error = %report(&error), "process not looked at");
                }
            }
        }
    }

    /// Acts on an event.
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Mapped { pid, mapping, build_id } => {
                if build_id.is_some_and(|build| self.unrelated.contains(&build)) {
                    return;
                }
                let related = self.sight(*pid, mapping);
                if let (false, Some(build)) = (related, build_id) {
                    if self.unrelated.len() == MAX_REMEMBERED {
                        self.unrelated.clear();
                    }
                    self.unrelated.insert(*build);
                }
            }
            Event::Forked { pid, parent } => self.registry.fork(*parent, *pid),
            Event::Exited { pid } => {
                self.registry.leave(User::Process(*pid), Instant::now());
                self.libraries.forget(*pid);
                self.unreadable.remove(pid);
            }
            Event::Executed { pid, .. } => {
                self.registry.leave(User::Process(*pid), Instant::now());
                self.enter_namespace(*pid);
            }
            Event::Mounted { id, point } => {
                let host = discover::host(&self.proc);
                self.explore(&host, point, User::Mount(*id));
            }
            Event::Unmounted { id } => self.registry.leave(User::Mount(*id), Instant::now()),
            Event::Renamed { .. } => {}
            Event::Lost => self.scan(),
        }
    }

    /// Detaches what has had no user for some time.
    pub(super) fn tick(&mut self) {
        self.registry.expire(Instant::now());
    }

    /// Probes the libraries of a root that no process was seen in before: its first process maps
    /// them any moment now.
    fn enter_namespace(&mut self, pid: u32) {
        let process = self.proc.join(pid.to_string());
        let Ok(namespace) = fs::metadata(process.join("ns/mnt")) else { return };
        if self.namespaces.len() == MAX_REMEMBERED {
            self.namespaces.clear();
        }
        if self.namespaces.insert(namespace.ino()) {
            self.explore(&process, Path::new("/"), User::Process(pid));
        }
    }

    /// Probes the libraries that lie in a root, before any process maps them. `point` is where the
    /// root is in the mount namespace of the process.
    fn explore(&mut self, process: &Path, point: &Path, user: User) {
        let root = process.join("root").join(point.strip_prefix("/").unwrap_or(point));
        for path in resolve::libraries(&root) {
            let Ok((led, files)) = resolve::open_in_root(&self.proc, process, &root, &path) else {
                continue;
            };
            let inside = Path::new("/").join(led.strip_prefix(point).unwrap_or(&led));
            for file in files {
                self.hook(user, &inside, &file);
            }
        }
    }

    /// Looks at a mapping, and probes its file if that has not been done. `false`: the file was
    /// read, and has nothing to do with TLS.
    fn sight(&mut self, pid: u32, mapping: &Mapping) -> bool {
        match resolve::open(&self.proc, pid, mapping) {
            Ok(files) => files
                .into_iter()
                .map(|file| self.hook(User::Process(pid), mapping.path.as_container_path(), &file))
                // Not `any`: each of them is to be looked at.
                .fold(false, |related, one| related | one),
            Err(OpenError::Gone | OpenError::NotRegular) => true,
            Err(error) => {
                // One line a process: it maps many files.
                if self.unreadable.insert(pid) {
                    let path = mapping.path.as_container_path();
                    tracing::warn!(pid, ?path, error = %report(&error), "file not looked at");
                }
                true
            }
        }
    }

    /// Probes a file, unless it is probed already. `path` is to show only. `false`: it has nothing
    /// to do with TLS.
    fn hook(&mut self, user: User, path: &Path, real: &RealFile) -> bool {
        if let Some(library) = self.registry.reuse(real, user) {
            if let User::Process(pid) = user {
                self.libraries.note_path(library, pid, &path.to_string_lossy());
                self.find_version(library, pid, real);
            }
            return true;
        }
        if let Some(known) = self.unprobed.get(&real.key)
            && known.stamp == real.stamp
        {
            return known.related;
        }
        match resolve::resolve(&real.file) {
            Resolution::Library { name, probes } => {
                self.attach(user, path, real, name, &probes);
                true
            }
            Resolution::Skipped { name, reason } => {
                tracing::info!(?user, ?path, library = name, %reason, "not probed");
                self.remember(real, true)
            }
            Resolution::Unrelated => self.remember(real, false),
        }
    }

    fn remember(&mut self, real: &RealFile, related: bool) -> bool {
        if self.unprobed.len() == MAX_REMEMBERED {
            self.unprobed.clear();
        }
        self.unprobed.insert(real.key, Unprobed { stamp: real.stamp, related });
        related
    }

    fn attach(
        &mut self,
        user: User,
        path: &Path,
        real: &RealFile,
        name: &'static str,
        probes: &[resolve::Probe],
    ) {
        let shown = path.to_string_lossy().into_owned();
        let library = self.libraries.add(Library { name, version: None, path: shown });
        match self.programs.attach(&real.file, library, probes) {
            Ok(attachment) => {
                tracing::debug!(?user, ?path, key = %real.key, probes = probes.len(), "probed");
                self.registry.insert(real, library, attachment, user);
                self.unversioned.insert(library, 0);
                if let User::Process(pid) = user {
                    self.find_version(library, pid, real);
                }
            }
            Err(error) => {
                tracing::warn!(?user, ?path, error = %report(&error), "failed to attach");
                self.remember(real, true);
            }
        }
    }

    /// Finds the version of a library, in its own file or in the libcrypto of a process that
    /// uses it. The process may not have mapped that yet, so it is tried a few times.
    fn find_version(&mut self, library: u32, pid: u32, real: &RealFile) {
        const TRIES: u8 = 3;
        let Some(tries) = self.unversioned.get_mut(&library) else {
            return;
        };
        *tries += 1;
        let spent = *tries == TRIES;
        let found = resolve::version(&real.file).or_else(|| libcrypto_version(&self.proc, pid));
        if let Some((name, version)) = &found {
            self.libraries.set_version(library, name, version.clone());
        }
        if found.is_some() || spent {
            self.unversioned.remove(&library);
        }
    }
}

/// The version in the libcrypto that a process maps, if it does.
pub(super) fn libcrypto_version(proc: &Path, pid: u32) -> Option<(&'static str, String)> {
    let mappings = discover::mappings(proc, pid).ok()?;
    mappings
        .iter()
        .filter(|mapping| {
            let name = mapping.path.as_container_path().file_name().unwrap_or_default();
            name.to_string_lossy().starts_with("libcrypto")
        })
        .find_map(|mapping| {
            let files = resolve::open(proc, pid, mapping).ok()?;
            resolve::version(&files.first()?.file)
        })
}

/// An error with its causes, in one line.
pub(crate) fn report(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        line = format!("{line}: {source}");
        cause = source.source();
    }
    line
}
