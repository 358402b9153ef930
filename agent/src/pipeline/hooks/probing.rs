//! One file: what is in it, and whether it is probed from now on.

use std::{path::Path, time::Instant};

use super::{Hooks, report};
use crate::{
    attach::{AttachError, Refusal, User},
    discover::{ContainerPath, Mapping},
    enrich::{Home, Library},
    resolve::{self, OpenError, Place, RealFile, Reason, Resolution},
};

/// What a look at a file gave, from the least to the most that follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sight {
    /// It was not there any more, or its process was not.
    Gone,
    /// It has nothing to do with TLS.
    Unrelated,
    /// Nothing new.
    Known,
    /// It is probed from now on.
    Probed,
}

impl Hooks {
    /// Looks at a mapping that was seen at this time, and probes its file if that has not been done.
    pub(super) fn sight(&mut self, pid: u32, mapping: &Mapping, seen: Instant) -> Sight {
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
            Err(OpenError::Gone) => Sight::Gone,
            Err(OpenError::NotRegular) => Sight::Known,
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

    /// Probes a file, unless it is probed already. One that changes meanwhile is looked at again, but
    /// not for ever.
    pub(super) fn hook(&mut self, user: User, place: &Place, real: &RealFile) -> Sight {
        const LOOKS: usize = 3;
        let mut sight = self.hook_unchanged(user, place, real);
        for _ in 1..LOOKS {
            let Some(now) = real.again().filter(|_| sight.is_none()) else { break };
            sight = self.hook_unchanged(user, place, &now);
        }
        let sight = sight.unwrap_or_else(|| self.remember(real, Some(Reason::Changed)));
        if sight != Sight::Gone {
            self.looked_at(user, &place.path);
        }
        sight
    }

    /// Remembers where a file lies that may be a library.
    fn looked_at(&mut self, user: User, path: &Path) {
        let home = match user {
            User::Process(pid) => self.names.home(pid),
            User::Mount(0) => Home::Host,
            // Whose it will be is not known yet.
            User::Mount(_) => return,
        };
        if resolve::is_named_like_library(path) {
            self.looked.insert((), &home, &ContainerPath::new(path));
        }
    }

    /// Likewise. `None`: it changed while it was looked at.
    fn hook_unchanged(&mut self, user: User, place: &Place, real: &RealFile) -> Option<Sight> {
        self.heart.beat();
        let path = place.path.as_path();
        if let Some(library) = self.registry.reuse(real, self.targets.scope(user), user) {
            if let User::Process(pid) = user {
                self.names.libraries.note_path(library, pid, &path.to_string_lossy());
                self.versions.find(&self.proc, &self.names.libraries, library, pid, real);
            }
            return Some(Sight::Known);
        }
        if let Some(reason) = self.unprobed.meet(real) {
            return Some(if reason.is_some() { Sight::Known } else { Sight::Unrelated });
        }
        match self.resolver.resolve(&real.file, Some(place)) {
            Resolution::Library { name, probes } => self.attach(user, path, real, name, &probes),
            Resolution::Skipped { name, reason } => {
                tracing::info!(?user, ?path, library = name, %reason, "not probed");
                Some(self.remember(real, Some(reason)))
            }
            Resolution::Unrelated => Some(self.remember(real, None)),
        }
    }

    fn remember(&mut self, real: &RealFile, reason: Option<Reason>) -> Sight {
        self.unprobed.remember(real, reason);
        if reason.is_some() { Sight::Known } else { Sight::Unrelated }
    }

    /// A number for the library in a file. The later it is probed, the higher: see the kernel half's
    /// `Thread::ends`.
    fn number(&self, path: &Path, real: &RealFile, name: &'static str) -> u32 {
        let libraries = &self.names.libraries;
        let former = self.former.get(&(real.key, real.stamp));
        former.and_then(|number| libraries.add_again(*number)).unwrap_or_else(|| {
            let path = path.to_string_lossy().into_owned();
            libraries.add(Library { name: name.into(), version: None, path })
        })
    }

    fn attach(
        &mut self,
        user: User,
        path: &Path,
        real: &RealFile,
        name: &'static str,
        probes: &[resolve::Probe],
    ) -> Option<Sight> {
        let library = self.number(path, real, name);
        let scope = self.targets.scope(user);
        match self.programs.attach(real, library, probes, scope) {
            Ok(attachment) => {
                tracing::debug!(?user, ?path, key = %real.key, probes = probes.len(), "probed");
                self.registry.insert(real, scope, library, attachment, user);
                self.versions.want(library, name);
                if let User::Process(pid) = user {
                    self.versions.find(&self.proc, &self.names.libraries, library, pid, real);
                }
                Some(Sight::Probed)
            }
            Err(error) if error.is_gone() => Some(Sight::Gone),
            Err(AttachError::Refused(Refusal::Changed)) => None,
            Err(error) => {
                tracing::warn!(?user, ?path, error = %report(&error), "failed to attach");
                let reason = match error {
                    AttachError::Refused(refusal) => refusal.reason(),
                    _ => Reason::AttachFailed,
                };
                Some(self.remember(real, Some(reason)))
            }
        }
    }
}
