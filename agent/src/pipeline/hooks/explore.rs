//! The libraries of a root, before any process maps them.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{Hooks, probing::Sight};
use crate::{
    attach::User,
    discover,
    resolve::{self, Place},
};

/// A file that may be a library.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Candidate {
    /// In /proc: the process in whose mount namespace it lies.
    process: PathBuf,
    /// The root in which it lies, and where that is in the mount namespace.
    root: PathBuf,
    point: PathBuf,
    /// Inside the root.
    path: PathBuf,
    user: User,
}

impl Hooks {
    /// Probes the libraries of a root at once: they may be mapped.
    pub(super) fn explore_now(&mut self, user: User) {
        for file in self.explore(Path::new("/"), user) {
            self.probe(&file);
        }
    }

    /// The libraries of a root that no process was seen in before are to be probed: its first process
    /// maps them any moment now.
    pub(super) fn enter_namespace(&mut self, pid: u32) {
        let process = self.proc.join(pid.to_string());
        let Ok(namespace) = fs::metadata(process.join("ns/mnt")) else { return };
        if self.namespaces.enter(namespace.ino(), pid) {
            let files = self.explore(Path::new("/"), User::Process(pid));
            self.turns.probe(self.names.home(pid), files);
        }
    }

    /// What may be libraries in a root: that of a process, or one that is mounted on the host at `point`.
    pub(super) fn explore(&self, point: &Path, user: User) -> Vec<Candidate> {
        let process = match user {
            User::Process(pid) => self.proc.join(pid.to_string()),
            User::Mount(_) => discover::host(&self.proc),
        };
        let root = process.join("root").join(point.strip_prefix("/").unwrap_or(point));
        let candidate = |path| Candidate {
            process: process.clone(),
            root: root.clone(),
            point: point.to_owned(),
            path,
            user,
        };
        resolve::libraries(&root).into_iter().map(candidate).collect()
    }

    /// Probes one of them.
    pub(super) fn probe(&mut self, Candidate { process, root, point, path, user }: &Candidate) {
        let Ok((led, files)) = resolve::open_in_root(&self.proc, process, root, path) else {
            return;
        };
        let inside = Path::new("/").join(led.strip_prefix(point).unwrap_or(&led));
        let place = Place { root: root.clone(), path: inside };
        for file in files {
            if self.hook(*user, &place, &file) == Sight::Probed
                && let Some(library) = self.registry.library(file.key, self.targets.scope(*user))
            {
                let names = &self.names.libraries;
                self.versions.find_beside(&self.proc, process, root, path, names, library);
            }
        }
    }
}
