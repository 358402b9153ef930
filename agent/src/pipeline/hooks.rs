//! discover → resolve → attach: each mapped TLS library is probed once.
//!
//! Runs on a thread of its own, since attaching takes milliseconds.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    ciphertext::Ciphertext,
    targets::{Targets, has_other_threads},
    versions::Versions,
};
use crate::{
    attach::{Attachment, Programs, Registry, User},
    discover::{self, BuildId, Event, Mapping, MapsError},
    enrich::{Library, Names},
    resolve::{self, FileKey, Given, OpenError, Place, RealFile, Resolution, Resolver},
};

/// Builds and files that are remembered; a node runs far fewer.
const MAX_REMEMBERED: usize = 65_536;

/// The state of the hooking thread.
pub(super) struct Hooks {
    proc: PathBuf,
    programs: Programs,
    targets: Targets,
    registry: Registry<Attachment>,
    ciphertext: Ciphertext,
    names: Names,
    resolver: Resolver,
    /// Builds that have no TLS code: seen again, they cost no file access.
    unrelated: HashSet<BuildId>,
    /// Files that were looked at and are not probed.
    unprobed: HashMap<FileKey, Unprobed>,
    /// Processes of which was said that they cannot be looked at.
    unreadable: HashSet<u32>,
    /// Mount namespaces whose libraries were looked for, by inode.
    namespaces: HashSet<u64>,
    versions: Versions,
}

/// What a look at a file gave, from the least to the most that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sight {
    /// It has nothing to do with TLS.
    Unrelated,
    /// Nothing new.
    Known,
    /// It is probed from now on.
    Probed,
}

/// A file that is not probed, until it changes.
struct Unprobed {
    stamp: resolve::Stamp,
    /// Whether it contains TLS code all the same.
    related: bool,
}

impl Hooks {
    pub(super) fn new(
        proc: PathBuf,
        programs: Programs,
        names: Names,
        targets: Targets,
        symbols: Given,
    ) -> Self {
        Self {
            ciphertext: Ciphertext::new(proc.clone(), targets.clone()),
            programs,
            targets,
            registry: Registry::default(),
            names,
            resolver: Resolver::new(&proc, symbols),
            unrelated: HashSet::new(),
            unprobed: HashMap::new(),
            unreadable: HashSet::new(),
            namespaces: HashSet::new(),
            versions: Versions::default(),
            proc,
        }
    }

    /// How many libraries are probed, and how many processes use them.
    pub(super) fn count(&self) -> (usize, usize) {
        self.registry.count()
    }

    /// Looks at the libraries of the host, or of the named processes, and at the processes: the
    /// first thing to do.
    pub(super) fn begin(&mut self) {
        if self.targets.are_named() {
            self.scan();
            self.targets.named().for_each(|pid| self.explore_of(pid));
            return;
        }
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
        let own = std::process::id();
        for &pid in &pids {
            if pid != own && self.targets.contain(pid) {
                self.scan_process(pid, &mut unrelated);
            }
        }
        let alive = pids.into_iter().collect();
        self.registry.retain_processes(&alive, Instant::now());
        self.ciphertext.retain_processes(&alive, Instant::now());
    }

    fn scan_process(&mut self, pid: u32, unrelated: &mut HashSet<(u64, u64)>) {
        match discover::mappings(&self.proc, pid) {
            Ok(mappings) => {
                for mapping in &mappings {
                    if mapping.inode.is_some_and(|inode| unrelated.contains(&inode)) {
                        continue;
                    }
                    if self.sight(pid, mapping, Instant::now()) == Sight::Unrelated {
                        unrelated.extend(mapping.inode);
                    }
                }
                for mapping in &mappings {
                    self.ciphertext.mapped(&mut self.programs, pid, mapping);
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
        if self.targets.are_named() {
            self.event_of_named(event);
            return;
        }
        match event {
            Event::Mapped { pid, mapping, build_id, seen } => {
                self.mapped(*pid, mapping, build_id.as_ref(), *seen);
            }
            Event::Forked { pid, parent } => {
                self.registry.fork(*parent, *pid);
                self.ciphertext.fork(*parent, *pid);
            }
            Event::Exited { pid } => {
                self.leave(*pid);
                self.names.libraries.forget(*pid);
                self.unreadable.remove(pid);
            }
            Event::Executed { pid, .. } => {
                self.leave(*pid);
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

    /// Likewise where only named processes are looked at: what others do, and their images, are
    /// none of their business.
    fn event_of_named(&mut self, event: &Event) {
        match event {
            Event::Mapped { pid, mapping, build_id, seen } if self.targets.contain(*pid) => {
                self.mapped(*pid, mapping, build_id.as_ref(), *seen);
            }
            Event::Forked { pid, .. } | Event::Executed { pid, .. }
                if self.targets.contain(*pid) =>
            {
                self.renew(*pid);
            }
            // Its first thread may end before the others, whose calls are still of interest.
            Event::Exited { pid }
                if self.targets.contain(*pid) && !has_other_threads(&self.proc, *pid) =>
            {
                self.renew(*pid);
                self.names.libraries.forget(*pid);
                self.unreadable.remove(pid);
            }
            Event::Lost => self.scan(),
            _ => {}
        }
    }

    /// A process mapped a file.
    fn mapped(&mut self, pid: u32, mapping: &Mapping, build_id: Option<&BuildId>, seen: Instant) {
        if self.versions.tells(mapping) {
            let users = self.registry.used_by(pid);
            self.versions.learn(&self.proc, &self.names.libraries, &users, pid, mapping);
        }
        self.ciphertext.mapped(&mut self.programs, pid, mapping);
        if build_id.is_some_and(|build| self.unrelated.contains(build)) {
            return;
        }
        match (self.sight(pid, mapping, seen), build_id) {
            (Sight::Unrelated, Some(build)) => {
                if self.unrelated.len() == MAX_REMEMBERED {
                    self.unrelated.clear();
                }
                self.unrelated.insert(*build);
            }
            (Sight::Probed, _) => self.admit_late(pid, mapping),
            _ => {}
        }
    }

    /// Detaches what has had no user for some time.
    pub(super) fn tick(&mut self) {
        self.registry.expire(Instant::now());
        self.ciphertext.expire(Instant::now());
    }

    fn leave(&mut self, pid: u32) {
        self.registry.leave(User::Process(pid), Instant::now());
        self.ciphertext.leave(pid, Instant::now());
    }

    /// A named process began, became another program, or ended: the links that were made before are
    /// bound to what may be gone, though its number is not. They stay until new ones are there.
    fn renew(&mut self, pid: u32) {
        let (old, ciphertext) = (self.registry.take(pid), self.ciphertext.take(pid));
        self.scan_process(pid, &mut HashSet::new());
        // Of a process that has just begun, what it maps is told any moment: nothing may delay that.
        if !old.is_empty() {
            self.explore_of(pid);
        }
        old.into_iter().chain(ciphertext).for_each(|old| self.registry.detach(old));
    }

    /// Probes for a named process the libraries that it may map: those in its root.
    fn explore_of(&mut self, pid: u32) {
        let process = self.proc.join(pid.to_string());
        self.explore(&process, Path::new("/"), User::Process(pid));
    }

    /// A process does the I/O of its TLS connections itself.
    pub(super) fn follow_ciphertext(&mut self, pid: u32) {
        self.ciphertext.follow(&mut self.programs, pid);
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
            let place = Place { root: root.clone(), path: inside };
            for file in files {
                if self.hook(user, &place, &file) == Sight::Probed
                    && let Some(library) = self.registry.library(file.key, self.targets.scope(user))
                {
                    let names = &self.names.libraries;
                    self.versions.find_beside(&self.proc, process, &root, &path, names, library);
                }
            }
        }
    }

    /// Tells that a process may have used a library before it was probed: nothing gave a hint of
    /// the file before the process mapped it.
    fn admit_late(&self, pid: u32, mapping: &Mapping) {
        let (process, container, _) = self.names.process_and_container(pid);
        let name = container.as_ref().and_then(|found| found.name.as_ref().or(found.id.as_ref()));
        tracing::warn!(
            pid,
            command = process.command,
            container = name,
            path = ?mapping.path.as_container_path(),
            "probed only after it was mapped; the first calls of this process may be missing"
        );
    }

    /// Looks at a mapping that was seen at this time, and probes its file if that has not been done.
    fn sight(&mut self, pid: u32, mapping: &Mapping, seen: Instant) -> Sight {
        let user = User::Process(pid);
        let scope = self.targets.scope(user);
        match resolve::open(&self.proc, pid, mapping) {
            Ok(files) => {
                let place = Place::of(&self.proc, pid, mapping);
                let look = |file: RealFile| match self.hook(user, &place, &file) {
                    // It was probed while this waited.
                    Sight::Known if self.registry.attached_after(file.key, scope, seen) => {
                        Sight::Probed
                    }
                    sight => sight,
                };
                files.into_iter().map(look).max().unwrap_or(Sight::Known)
            }
            Err(OpenError::Gone | OpenError::NotRegular) => Sight::Known,
            Err(error) => {
                // One line a process: it maps many files.
                if self.unreadable.insert(pid) {
                    let path = mapping.path.as_container_path();
                    tracing::warn!(pid, ?path, error = %report(&error), "file not looked at");
                }
                Sight::Known
            }
        }
    }

    /// Probes a file, unless it is probed already.
    fn hook(&mut self, user: User, place: &Place, real: &RealFile) -> Sight {
        let path = place.path.as_path();
        if let Some(library) = self.registry.reuse(real, self.targets.scope(user), user) {
            if let User::Process(pid) = user {
                self.names.libraries.note_path(library, pid, &path.to_string_lossy());
                self.versions.find(&self.proc, &self.names.libraries, library, pid, real);
            }
            return Sight::Known;
        }
        if let Some(known) = self.unprobed.get(&real.key)
            && known.stamp == real.stamp
        {
            return if known.related { Sight::Known } else { Sight::Unrelated };
        }
        match self.resolver.resolve(&real.file, Some(place)) {
            Resolution::Library { name, probes } => self.attach(user, path, real, name, &probes),
            Resolution::Skipped { name, reason } => {
                tracing::info!(?user, ?path, library = name, %reason, "not probed");
                self.remember(real, true)
            }
            Resolution::Unrelated => self.remember(real, false),
        }
    }

    fn remember(&mut self, real: &RealFile, related: bool) -> Sight {
        if self.unprobed.len() == MAX_REMEMBERED {
            self.unprobed.clear();
        }
        self.unprobed.insert(real.key, Unprobed { stamp: real.stamp, related });
        if related { Sight::Known } else { Sight::Unrelated }
    }

    fn attach(
        &mut self,
        user: User,
        path: &Path,
        real: &RealFile,
        name: &'static str,
        probes: &[resolve::Probe],
    ) -> Sight {
        let shown = path.to_string_lossy().into_owned();
        let library =
            self.names.libraries.add(Library { name: name.into(), version: None, path: shown });
        let scope = self.targets.scope(user);
        match self.programs.attach(&real.file, library, probes, scope) {
            Ok(attachment) => {
                tracing::debug!(?user, ?path, key = %real.key, probes = probes.len(), "probed");
                self.registry.insert(real, scope, library, attachment, user);
                self.versions.want(library, name);
                if let User::Process(pid) = user {
                    self.versions.find(&self.proc, &self.names.libraries, library, pid, real);
                }
                Sight::Probed
            }
            Err(error) if error.is_gone() => Sight::Known,
            Err(error) => {
                tracing::warn!(?user, ?path, error = %report(&error), "failed to attach");
                self.remember(real, true)
            }
        }
    }
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
