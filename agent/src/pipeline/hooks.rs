//! discover → resolve → attach: each mapped TLS library is probed once.
//!
//! Runs on a thread of its own, since attaching takes milliseconds.

mod explore;
mod pause;
mod probing;
mod scan;

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

pub(super) use self::explore::Candidate;
use self::probing::Sight;
use super::{
    admissions::{Admission, Admissions},
    ciphertext::Ciphertext,
    namespaces::Namespaces,
    places::Places,
    targets::{Targets, has_other_threads},
    turns::{Task, Turns},
    unprobed::Unprobed,
    versions::Versions,
};
use crate::{
    attach::{Attachment, Links, Programs, Registry, User},
    discover::{BuildId, ContainerPath, Event, Mapping},
    enrich::{Home, Names},
    heartbeat::Heartbeat,
    metrics::Libraries,
    privilege::Part,
    resolve::{self, FileKey, Given, Resolver},
};

/// The state of the hooking thread.
pub(super) struct Hooks {
    proc: PathBuf,
    programs: Programs,
    targets: Targets,
    registry: Registry<Attachment>,
    ciphertext: Ciphertext,
    names: Names,
    resolver: Resolver,
    /// What has nothing to do with TLS.
    unrelated: Places<BuildId>,
    /// What may have, by its name.
    looked: Places<()>,
    unprobed: Unprobed,
    /// Processes of which was said that they cannot be looked at.
    unreadable: HashSet<u32>,
    admissions: Admissions,
    namespaces: Namespaces,
    versions: Versions,
    /// Roots that are mounted, by the numbers of their mounts.
    mounts: HashMap<i32, PathBuf>,
    /// What is to be done.
    turns: Turns,
    /// Files that were found to be unrelated since all processes are looked at. Device and inode may be
    /// given anew, so that holds until then only.
    scanned: HashSet<(u64, u64)>,
    /// Whether no file may be probed.
    paused: bool,
    /// The numbers of the libraries that were probed before the pause.
    former: HashMap<(FileKey, resolve::Stamp), u32>,
    /// Of this thread.
    heart: Arc<Heartbeat>,
}

impl Hooks {
    pub(super) fn new(
        proc: PathBuf,
        programs: Programs,
        names: Names,
        targets: Targets,
        symbols: Given,
        heart: Arc<Heartbeat>,
    ) -> Self {
        Self {
            ciphertext: Ciphertext::new(proc.clone(), targets.clone()),
            programs,
            targets,
            registry: Registry::default(),
            names,
            resolver: Resolver::new(&proc, symbols),
            unrelated: Places::default(),
            looked: Places::default(),
            unprobed: Unprobed::default(),
            unreadable: HashSet::new(),
            admissions: Admissions::default(),
            namespaces: Namespaces::default(),
            versions: Versions::default(),
            mounts: HashMap::new(),
            turns: Turns::default(),
            scanned: HashSet::new(),
            paused: false,
            former: HashMap::new(),
            heart,
            proc,
        }
    }

    /// What the hooking thread is, as privileges go.
    pub(super) fn part(&self) -> Part {
        Part::Hooks { perf: self.programs.links() == Links::Perf }
    }

    /// How many libraries are probed, and how many processes use them.
    pub(super) fn count(&self) -> (usize, usize) {
        self.registry.count()
    }

    /// The pulse of this thread.
    pub(super) fn heart(&self) -> Arc<Heartbeat> {
        Arc::clone(&self.heart)
    }

    /// What is probed, and what is not.
    pub(super) fn libraries(&self) -> Libraries {
        let mut libraries = Libraries { processes: self.count().1 as u64, ..Libraries::default() };
        for number in self.registry.libraries() {
            let library = self.names.libraries.look_up(number, 0);
            let name = library.map_or_else(String::new, |library| library.name.to_string());
            *libraries.hooked.entry(name).or_default() += 1;
        }
        for reason in self.unprobed.reasons() {
            *libraries.skipped.entry(reason.as_str()).or_default() += 1;
        }
        libraries
    }

    /// Notes what happened. It is done by [`Hooks::work`].
    pub(super) fn tell(&mut self, event: Event) {
        match &event {
            Event::Lost => return self.lost(),
            Event::Mounted { id, point } => {
                self.mounts.insert(*id, point.clone());
            }
            Event::Unmounted { id } => {
                self.mounts.remove(id);
            }
            _ => {}
        }
        let home = match (&event, event.pid()) {
            (Event::Mounted { point, .. }, _) => home_of_root(point),
            (_, Some(pid)) => self.names.home(pid),
            (_, None) => Home::Host,
        };
        self.turns.event(home, event);
    }

    /// Does the next thing. `false`: there is nothing to do.
    pub(super) fn work(&mut self) -> bool {
        let begun = Instant::now();
        let Some(task) = self.turns.next() else {
            self.scanned.clear();
            return false;
        };
        match task {
            Task::Event(event) if self.paused => self.miss(&event),
            Task::Look(_) | Task::Probe(_) if self.paused => {}
            Task::Event(event) => self.event(&event),
            Task::Look(pid) => self.scan_process(pid),
            Task::Probe(file) => self.probe(&file),
        }
        self.turns.took(begun.elapsed());
        true
    }

    /// Acts on an event.
    fn event(&mut self, event: &Event) {
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
                self.namespaces.leave(*pid);
            }
            Event::Executed { pid, .. } => {
                self.leave(*pid);
                self.enter_namespace(*pid);
            }
            // It may have gone while this waited.
            Event::Mounted { id, point } if self.mounts.contains_key(id) => {
                let files = self.explore(point, User::Mount(*id));
                self.turns.probe(home_of_root(point), files);
            }
            Event::Unmounted { id } => self.registry.leave(User::Mount(*id), Instant::now()),
            Event::Mounted { .. } | Event::Renamed { .. } | Event::Lost => {}
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
        let (home, path) = (self.names.home(pid), &mapping.path);
        if build_id.is_some_and(|build| self.unrelated.contains(*build, &home, path)) {
            return;
        }
        match (self.sight(pid, mapping, seen), build_id) {
            (Sight::Unrelated, Some(build)) => self.unrelated.insert(*build, &home, path),
            (Sight::Probed, _) => self.admissions.tell(&self.names, pid, mapping, Admission::Late),
            (Sight::Gone, _) if self.may_have_been_library(path, &home) => {
                self.admissions.tell(&self.names, pid, mapping, Admission::Gone);
            }
            _ => {}
        }
    }

    /// Detaches what has had no user for some time.
    pub(super) fn tick(&mut self) {
        let now = Instant::now();
        for library in self.registry.expire(now) {
            self.names.libraries.remove(library);
            self.versions.forget(library);
        }
        self.ciphertext.expire(now);
        self.unprobed.expire(now);
    }

    fn leave(&mut self, pid: u32) {
        self.admissions.forget(pid);
        self.registry.leave(User::Process(pid), Instant::now());
        self.ciphertext.leave(pid, Instant::now());
    }

    /// A named process began, became another program, or ended: the links that were made before are
    /// bound to what may be gone, though its number is not. They stay until new ones are there.
    fn renew(&mut self, pid: u32) {
        let (old, ciphertext) = (self.registry.take(pid), self.ciphertext.take(pid));
        self.scan_process(pid);
        // Of a process that has just begun, what it maps is told any moment: nothing may delay that.
        if !old.is_empty() {
            self.explore_now(User::Process(pid));
        }
        old.into_iter().chain(ciphertext).for_each(|old| self.registry.detach(old));
    }

    /// A process does the I/O of its TLS connections itself.
    pub(super) fn follow_ciphertext(&mut self, pid: u32) {
        if self.paused {
            return;
        }
        self.ciphertext.follow(&mut self.programs, pid);
    }

    /// Whether a file that nobody can look at any more was a library, as far as its name tells, that was not
    /// looked at before.
    fn may_have_been_library(&self, path: &ContainerPath, home: &Home) -> bool {
        let named = resolve::is_named_like_library(path.as_container_path());
        named && !self.looked.contains((), home, path)
    }
}

/// Most likely a root that is mounted is that of a container to come.
fn home_of_root(point: &Path) -> Home {
    Home::Root { name: point.to_string_lossy().into_owned() }
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
