//! Which mount namespaces were looked at: the libraries in a root are probed when the first process
//! executes in it.
//!
//! The kernel gives the number of a namespace that is gone to the next one. So a number is known for as
//! long as the process lives that was the first in it.

use std::collections::{HashMap, HashSet, hash_map::Entry};

/// Namespaces by inode.
#[derive(Debug, Default)]
pub(super) struct Namespaces(HashMap<u64, u32>);

impl Namespaces {
    /// Whether nothing is known of a namespace that a process executes in. From now on it is known.
    pub(super) fn enter(&mut self, inode: u64, pid: u32) -> bool {
        match self.0.entry(inode) {
            Entry::Vacant(unknown) => {
                unknown.insert(pid);
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// Nothing is known of any.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// A process ended.
    pub(super) fn leave(&mut self, pid: u32) {
        self.0.retain(|_, first| *first != pid);
    }

    /// Only these processes live.
    pub(super) fn retain_processes(&mut self, alive: &HashSet<u32>) {
        self.0.retain(|_, first| alive.contains(first));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_used_again_is_another_namespace() {
        let mut namespaces = Namespaces::default();
        assert!(namespaces.enter(40, 7));
        assert!(!namespaces.enter(40, 8));
        namespaces.leave(8);
        assert!(!namespaces.enter(40, 9));
        namespaces.leave(7);
        assert!(namespaces.enter(40, 10));
        namespaces.retain_processes(&HashSet::from([10]));
        assert!(!namespaces.enter(40, 11));
        namespaces.retain_processes(&HashSet::from([11]));
        assert!(namespaces.enter(40, 11));
    }
}
