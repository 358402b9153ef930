//! What is there already: at the beginning, and when events were lost.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt as _, time::Instant};

use super::{Hooks, probing::Sight, report};
use crate::{
    attach::User,
    discover::{self, MapsError},
};

/// Whose the host's namespace is: nobody's who ends.
const HOST: u32 = 0;

impl Hooks {
    /// Looks at the libraries of the host, or of the named processes, and at the processes: the
    /// first thing to do.
    pub(in super::super) fn begin(&mut self) {
        self.lost();
        if self.targets.are_named() {
            while self.work() {}
            self.targets.named().for_each(|pid| self.explore_now(User::Process(pid)));
            return;
        }
        let host = discover::host(&self.proc);
        if let Ok(namespace) = fs::metadata(host.join("ns/mnt")) {
            self.namespaces.enter(namespace.ino(), HOST);
        }
        // The root of everything stays mounted.
        self.explore_now(User::Mount(0));
        while self.work() {}
    }

    /// Something may have been missed: every process is looked at.
    pub(super) fn lost(&mut self) {
        if self.paused {
            return;
        }
        let pids = match discover::processes(&self.proc) {
            Ok(pids) => pids,
            Err(error) => {
                tracing::error!(%error, "failed to list {}", self.proc.display());
                return;
            }
        };
        self.scanned.clear();
        // The agent's own strings would look like a library to it.
        let own = std::process::id();
        for &pid in pids.iter().filter(|&&pid| pid != own && self.targets.contain(pid)) {
            self.turns.look(self.names.home(pid), pid);
        }
        let mut alive: HashSet<_> = pids.into_iter().collect();
        self.registry.retain_processes(&alive, Instant::now());
        self.ciphertext.retain_processes(&alive, Instant::now());
        self.names.libraries.retain_processes(&alive);
        self.unreadable.retain(|pid| alive.contains(pid));
        alive.insert(HOST);
        self.namespaces.retain_processes(&alive);
    }

    pub(super) fn scan_process(&mut self, pid: u32) {
        self.heart.beat();
        let mappings = match discover::mappings(&self.proc, pid) {
            Ok(mappings) => mappings,
            Err(MapsError::Gone(_)) => return,
            Err(error) => {
                if self.unreadable.insert(pid) {
                    tracing::warn!(error = %report(&error), "process not looked at");
                }
                return;
            }
        };
        // It may map one file as often as it likes.
        let mut looked = HashSet::new();
        for mapping in &mappings {
            let inode = mapping.inode;
            if inode.is_some_and(|inode| self.scanned.contains(&inode) || !looked.insert(inode)) {
                continue;
            }
            if self.sight(pid, mapping, Instant::now()) == Sight::Unrelated {
                self.scanned.extend(inode);
            }
        }
        for mapping in &mappings {
            self.ciphertext.mapped(&mut self.programs, pid, mapping);
        }
    }
}
