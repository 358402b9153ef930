//! Which libraries are probed to find the sockets of programs that do the I/O of their TLS
//! connections themselves: libcrypto, or where that is linked in.
//!
//! Only the files of processes that need it: it would cost all others.

use std::{collections::HashSet, path::PathBuf, time::Instant};

use super::{hooks::report, targets::Targets};
use crate::{
    attach::{Attachment, Programs, Registry, User},
    discover::{self, Mapping},
    resolve::{self, RealFile},
};

/// The probed files, and who needs them.
#[derive(Debug)]
pub(super) struct Ciphertext {
    proc: PathBuf,
    targets: Targets,
    files: Registry<Attachment>,
    /// Processes that need a file, and have not mapped it yet.
    awaiting: HashSet<u32>,
}

impl Ciphertext {
    pub(super) fn new(proc: PathBuf, targets: Targets) -> Self {
        Self { proc, targets, files: Registry::default(), awaiting: HashSet::new() }
    }

    /// A process does the I/O of its TLS connections itself: probes what hands it the ciphertext.
    pub(super) fn follow(&mut self, programs: &mut Programs, pid: u32) {
        tracing::debug!(pid, "does the I/O of its TLS connections itself");
        if !programs.follow_ciphertext() {
            return;
        }
        let mut mappings = discover::mappings(&self.proc, pid).unwrap_or_default();
        // Nearly always it is one of these.
        mappings.sort_by_key(|mapping| {
            let path = mapping.path.as_container_path().to_string_lossy();
            !["crypto", "ssl"].iter().any(|part| path.contains(part))
        });
        if !mappings.iter().any(|mapping| self.probe_mapping(programs, pid, mapping)) {
            self.awaiting.insert(pid);
        }
    }

    /// A process maps a file: maybe one that tells that it does the I/O itself, or what it needs
    /// for that.
    pub(super) fn mapped(&mut self, programs: &mut Programs, pid: u32, mapping: &Mapping) {
        if hints_at_memory_bios(mapping) {
            self.follow(programs, pid);
        } else if self.awaiting.contains(&pid) && self.probe_mapping(programs, pid, mapping) {
            self.awaiting.remove(&pid);
        }
    }

    /// As [`Registry::fork`].
    pub(super) fn fork(&mut self, parent: u32, pid: u32) {
        self.files.fork(parent, pid);
    }

    /// A process ended, or executed another program.
    pub(super) fn leave(&mut self, pid: u32, now: Instant) {
        self.files.leave(User::Process(pid), now);
        self.awaiting.remove(&pid);
    }

    /// As [`Registry::take`].
    pub(super) fn take(&mut self, pid: u32) -> Vec<Attachment> {
        self.awaiting.remove(&pid);
        self.files.take(pid)
    }

    /// As [`Registry::take_all`].
    pub(super) fn take_all(&mut self) -> Vec<Attachment> {
        self.awaiting.clear();
        self.files.take_all().0
    }

    /// As [`Registry::retain_processes`].
    pub(super) fn retain_processes(&mut self, alive: &HashSet<u32>, now: Instant) {
        self.files.retain_processes(alive, now);
        self.awaiting.retain(|pid| alive.contains(pid));
    }

    /// As [`Registry::expire`].
    pub(super) fn expire(&mut self, now: Instant) {
        self.files.expire(now);
    }

    fn probe_mapping(&mut self, programs: &mut Programs, pid: u32, mapping: &Mapping) -> bool {
        let files = resolve::open(&self.proc, pid, mapping).unwrap_or_default();
        let found = files.iter().any(|file| self.probe(programs, pid, file));
        if found {
            tracing::info!(pid, "ciphertext is followed to find sockets");
        }
        found
    }

    /// Whether the file hands out ciphertext, and is probed for it now.
    fn probe(&mut self, programs: &mut Programs, pid: u32, file: &RealFile) -> bool {
        let user = User::Process(pid);
        let scope = self.targets.scope(user);
        if self.files.reuse(file, scope, user).is_some() {
            return true;
        }
        let Some(probe) = resolve::ciphertext(&file.file) else { return false };
        match programs.attach(file, 0, &[probe], scope) {
            Ok(attachment) => {
                self.files.insert(file, scope, 0, attachment, user);
                true
            }
            Err(error) if error.is_gone() => false,
            Err(error) => {
                tracing::warn!(pid, error = %report(&error), "failed to attach");
                false
            }
        }
    }
}

/// Whether only programs map the file that hand TLS libraries memory instead of sockets: Python's
/// asyncio, Node, .NET. Others are recognised at the first call that sends; these by that time
/// may be gone.
fn hints_at_memory_bios(mapping: &Mapping) -> bool {
    const FILES: [&str; 3] = ["_asyncio.", "libnode.so", "libSystem.Security.Cryptography.Native"];
    let path = mapping.path.as_container_path();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name == "node" || FILES.iter().any(|file| name.starts_with(file))
}
