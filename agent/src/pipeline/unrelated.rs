//! Builds of files that have nothing to do with TLS: mapped again, they cost no access to a file.
//!
//! A build-id is what a file says of itself, and anybody can write the one of a TLS library into a file
//! that is none. So a build holds for one path in one home: there, and only there, whoever can put a
//! file can also put another library.

use std::{
    collections::HashSet,
    hash::{BuildHasher as _, RandomState},
};

use super::unprobed::MAX_REMEMBERED;
use crate::{
    discover::{BuildId, ContainerPath},
    enrich::Home,
};

/// These builds.
#[derive(Debug, Default)]
pub(super) struct Unrelated {
    /// With a number of the home and the path that nobody can foresee.
    builds: HashSet<(BuildId, u64)>,
    numbers: RandomState,
}

impl Unrelated {
    /// Whether this build has been found to be unrelated, at this place.
    pub(super) fn contains(&self, build: BuildId, home: &Home, path: &ContainerPath) -> bool {
        self.builds.contains(&(build, self.number(home, path)))
    }

    /// Adds one.
    pub(super) fn insert(&mut self, build: BuildId, home: &Home, path: &ContainerPath) {
        if self.builds.len() == MAX_REMEMBERED {
            self.builds.clear();
        }
        self.builds.insert((build, self.number(home, path)));
    }

    fn number(&self, home: &Home, path: &ContainerPath) -> u64 {
        self.numbers.hash_one((home, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_says_of_itself_holds_for_nobody_else() {
        let home = |name: &str| Home::Root { name: name.to_owned() };
        let [library, other] = ["/lib/libssl.so.3", "/lib/false.so"].map(ContainerPath::new);
        let [build, another] = [1, 2].map(|byte| BuildId::new(&[byte; 20]).unwrap());
        let mut unrelated = Unrelated::default();
        unrelated.insert(build, &home("hostile"), &library);
        unrelated.insert(build, &Home::Host, &other);
        assert!(unrelated.contains(build, &home("hostile"), &library));
        assert!(unrelated.contains(build, &Home::Host, &other));
        assert!(!unrelated.contains(build, &home("honest"), &library));
        assert!(!unrelated.contains(build, &Home::Host, &library));
        assert!(!unrelated.contains(another, &Home::Host, &other));
    }
}
