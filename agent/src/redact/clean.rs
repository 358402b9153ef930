//! Header fields that were looked at and hold no secret: most of those of a connection come again
//! and again. A field is known by all of its bytes, so that none is taken for another.

use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;

/// Fields that are kept.
const PLACES: usize = 1024;
/// A longer one, name and value, is looked at each time.
const LONGEST: usize = 512;

/// The fields. Each has one place, where the one that comes later stays.
#[derive(Debug)]
pub(super) struct Clean {
    /// Seeded, so that nobody can tell which fields share a place.
    hash: RandomState,
    places: Vec<Field>,
}

/// A name, and its value behind it. That of an empty place is empty, and so is its value: that
/// field has no secret either.
#[derive(Clone, Debug, Default)]
struct Field {
    name: usize,
    bytes: Vec<u8>,
}

impl Clean {
    pub(super) fn new() -> Self {
        Self { hash: RandomState::default(), places: vec![Field::default(); PLACES] }
    }

    /// Whether a field is one of them.
    pub(super) fn has(&self, name: &str, value: &[u8]) -> bool {
        let known = self.places.get(self.place(name, value));
        known.is_some_and(|known| {
            known.bytes.split_at_checked(known.name) == Some((name.as_bytes(), value))
        })
    }

    /// A field has no secret.
    pub(super) fn add(&mut self, name: &str, value: &[u8]) {
        if name.len() + value.len() > LONGEST {
            return;
        }
        let place = self.place(name, value);
        if let Some(Field { name: end, bytes }) = self.places.get_mut(place) {
            bytes.clear();
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(value);
            *end = name.len();
        }
    }

    fn place(&self, name: &str, value: &[u8]) -> usize {
        let hash = self.hash.hash_one((name, value));
        usize::try_from(hash % PLACES as u64).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_known_by_all_of_its_bytes() {
        let mut clean = Clean::new();
        clean.add("accept", b"*/*");
        assert!(clean.has("accept", b"*/*"));
        for (name, value) in [("accept", &b"*/"[..]), ("accep", b"t*/*"), ("", b"accept*/*")] {
            assert!(!clean.has(name, value), "{name}");
        }
    }

    /// Many more than there are places, so that many share one.
    #[test]
    fn no_field_is_taken_for_another() {
        let mut clean = Clean::new();
        let value = |number: usize| number.to_string().into_bytes();
        for number in 0..10 * PLACES {
            assert!(!clean.has("a", &value(number)), "{number}");
            clean.add("a", &value(number));
            assert!(clean.has("a", &value(number)), "{number}");
        }
        let known = (0..10 * PLACES).filter(|number| clean.has("a", &value(*number))).count();
        assert!(known <= PLACES && known > PLACES / 2, "{known}");
    }

    #[test]
    fn there_is_a_bound() {
        let mut clean = Clean::new();
        clean.add("a", &[b'x'; LONGEST]);
        assert!(!clean.has("a", &[b'x'; LONGEST]));
        clean.add("a", &[b'x'; LONGEST - 1]);
        assert!(clean.has("a", &[b'x'; LONGEST - 1]));
    }
}
