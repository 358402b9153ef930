//! Files that were looked at, by where they lie: a path in one home. There, and only there, whoever can put
//! a file can also put another.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, Hash, RandomState},
};

use super::unprobed::MAX_REMEMBERED;
use crate::{discover::ContainerPath, enrich::Home};

/// These files, and what of each was looked at.
///
/// Of those that have nothing to do with TLS it is the build: mapped again, they cost no access to a file. A
/// build-id is what a file says of itself, and anybody can write the one of a TLS library into a file that
/// is none.
#[derive(Debug)]
pub(super) struct Places<K> {
    /// With a number of the home and the path that nobody can foresee.
    known: HashSet<(K, u64)>,
    numbers: RandomState,
}

impl<K> Default for Places<K> {
    fn default() -> Self {
        Self { known: HashSet::new(), numbers: RandomState::new() }
    }
}

impl<K: Eq + Hash> Places<K> {
    /// Whether this was found at this place.
    pub(super) fn contains(&self, what: K, home: &Home, path: &ContainerPath) -> bool {
        self.known.contains(&(what, self.number(home, path)))
    }

    /// Adds it.
    pub(super) fn insert(&mut self, what: K, home: &Home, path: &ContainerPath) {
        if self.known.len() == MAX_REMEMBERED {
            self.known.clear();
        }
        self.known.insert((what, self.number(home, path)));
    }

    fn number(&self, home: &Home, path: &ContainerPath) -> u64 {
        self.numbers.hash_one((home, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::BuildId;

    #[test]
    fn what_one_says_of_itself_holds_for_nobody_else() {
        let home = |name: &str| Home::Root { name: name.to_owned() };
        let [library, other] = ["/lib/libssl.so.3", "/lib/false.so"].map(ContainerPath::new);
        let [build, another] = [1, 2].map(|byte| BuildId::new(&[byte; 20]).unwrap());
        let mut unrelated = Places::default();
        unrelated.insert(build, &home("hostile"), &library);
        unrelated.insert(build, &Home::Host, &other);
        assert!(unrelated.contains(build, &home("hostile"), &library));
        assert!(unrelated.contains(build, &Home::Host, &other));
        assert!(!unrelated.contains(build, &home("honest"), &library));
        assert!(!unrelated.contains(build, &Home::Host, &library));
        assert!(!unrelated.contains(another, &Home::Host, &other));
    }
}
