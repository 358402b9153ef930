//! Identifiers for spans, and for traces that begin with them.

use std::hash::{BuildHasher as _, RandomState};

/// Gives identifiers that nobody else has, and nobody can foresee: numbers in order under SipHash, with
/// a key that is this object's own.
#[derive(Debug, Default)]
pub(super) struct Ids {
    key: RandomState,
    last: u64,
}

impl Ids {
    /// For a span; never zero, which would be none.
    pub(super) fn span(&mut self) -> [u8; 8] {
        self.next().to_be_bytes()
    }

    /// For a trace, likewise.
    pub(super) fn trace(&mut self) -> [u8; 16] {
        let (high, low) = (u128::from(self.next()), u128::from(self.next()));
        (high << 64 | low).to_be_bytes()
    }

    /// Any number.
    pub(super) fn chance(&mut self) -> u64 {
        self.next()
    }

    fn next(&mut self) -> u64 {
        self.last = self.last.wrapping_add(1);
        self.key.hash_one(self.last).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn none_is_given_twice() {
        let (mut ids, mut others) = (Ids::default(), Ids::default());
        let all: HashSet<_> = (0..1000).flat_map(|_| [ids.span(), others.span()]).collect();
        assert_eq!(all.len(), 2000);
        assert_ne!(ids.trace()[..8], ids.trace()[8..]);
    }
}
