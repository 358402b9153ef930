//! Which processes are looked at: all, or those that the user named by their numbers.
//!
//! Then files are probed for these processes only, so that all others pay nothing.

use std::{collections::HashSet, fs, path::Path};

use crate::{
    attach::{Scope, User},
    select::Filters,
};

/// The processes that are looked at.
#[derive(Clone, Debug)]
pub(super) struct Targets(Option<HashSet<u32>>);

impl Targets {
    /// Those that the filters name; filters of other kinds can only leave out more. All where the
    /// numbers in /proc are not those that the kernel takes from the agent.
    pub(super) fn of(filters: &Filters, proc: &Path) -> Self {
        let named = !filters.pids.is_empty() && has_own_numbers(proc);
        Self(named.then(|| filters.pids.iter().copied().collect()))
    }

    /// Whether these are named ones.
    pub(super) const fn are_named(&self) -> bool {
        self.0.is_some()
    }

    /// Whether this one is looked at.
    pub(super) fn contain(&self, pid: u32) -> bool {
        self.0.as_ref().is_none_or(|named| named.contains(&pid))
    }

    /// The named ones.
    pub(super) fn named(&self) -> impl Iterator<Item = u32> + use<> {
        self.0.clone().unwrap_or_default().into_iter()
    }

    /// For which processes a file is probed that this one uses.
    pub(super) fn scope(&self, user: User) -> Scope {
        match user {
            User::Process(pid) if self.are_named() => Scope::Process(pid),
            _ => Scope::All,
        }
    }
}

/// Whether a /proc shows the agent's own process namespace.
fn has_own_numbers(proc: &Path) -> bool {
    let own = std::process::id().to_string();
    fs::read_link(proc.join("self")).is_ok_and(|shown| shown == Path::new(&own))
}

/// Whether a process has threads besides its first.
pub(super) fn has_other_threads(proc: &Path, pid: u32) -> bool {
    fs::read_dir(proc.join(pid.to_string()).join("task")).is_ok_and(|threads| threads.count() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_by_number() {
        let by = |pids: &[u32], commands: &[&str]| {
            let commands = commands.iter().map(|&name| name.to_owned()).collect();
            let filters = Filters { pids: pids.to_vec(), commands, ..Filters::default() };
            Targets::of(&filters, Path::new("/proc"))
        };
        for named in [by(&[41, 42], &[]), by(&[41, 42], &["curl"])] {
            assert!(named.are_named() && named.contain(41) && !named.contain(43));
            assert_eq!(named.scope(User::Process(42)), Scope::Process(42));
        }
        for all in [by(&[], &[]), by(&[], &["curl"])] {
            assert!(!all.are_named() && all.contain(43));
            assert_eq!(all.scope(User::Process(42)), Scope::All);
            assert_eq!(all.scope(User::Mount(0)), Scope::All);
        }
    }

    #[test]
    fn numbers_of_another_namespace_name_nobody() {
        let proc = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("1", proc.path().join("self")).unwrap();
        let filters = Filters { pids: vec![41], ..Filters::default() };
        assert!(!Targets::of(&filters, proc.path()).are_named());
    }
}
