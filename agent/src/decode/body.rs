//! Pieces of a message body in, a [`Body`] out. Keeps no more than its limit, whatever comes.

use bytes::Bytes;

use super::{Body, Options, coding};

/// A body that is still coming.
#[derive(Debug)]
pub(super) struct Gathering {
    size: u64,
    /// The first bytes without a hole.
    kept: Vec<u8>,
    /// How many bytes may be kept; `None` when bodies are not wanted.
    limit: Option<usize>,
    truncated: bool,
}

impl Gathering {
    pub(super) fn new(options: &Options) -> Self {
        let limit = options.keep_bodies.then_some(options.body_limit);
        Self { size: 0, kept: Vec::new(), limit, truncated: false }
    }

    /// The next bytes of the body.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        let Some(limit) = self.limit else { return };
        // Behind a hole nothing is kept: what is shown must be a true beginning of the body.
        if self.truncated {
            return;
        }
        let room = limit.saturating_sub(self.kept.len());
        self.truncated = bytes.len() > room;
        self.kept.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// The next `length` bytes of the body were lost.
    pub(super) fn lose(&mut self, length: u64) {
        self.size = self.size.saturating_add(length);
        self.truncated = true;
    }

    /// The rest of the body, of unknown length, will not come.
    pub(super) const fn cut(&mut self) {
        self.truncated = true;
    }

    /// Keeps nothing, from now on neither.
    pub(super) fn give_up(&mut self) {
        self.kept = Vec::new();
        self.truncated = true;
    }

    /// Whether no byte of it came yet, seen or lost.
    pub(super) const fn is_untouched(&self) -> bool {
        self.size == 0 && !self.truncated
    }

    /// How much memory it holds.
    pub(super) const fn weight(&self) -> usize {
        self.kept.len()
    }

    /// The body, with the codings removed that were applied in the order given.
    pub(super) fn finish(self, codings: impl FnOnce() -> Vec<String>) -> Body {
        let raw = Bytes::from(self.kept);
        let plain = Body { size: self.size, bytes: raw.clone(), truncated: self.truncated };
        let Some(limit) = self.limit.filter(|_| !raw.is_empty()) else {
            return plain;
        };
        match coding::remove(&codings(), raw, limit) {
            Some((bytes, whole)) => Body { bytes, truncated: self.truncated || !whole, ..plain },
            None => plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(limit: Option<usize>, steps: &[Result<&str, u64>]) -> Body {
        let options =
            Options { keep_bodies: limit.is_some(), body_limit: limit.unwrap_or_default() };
        let mut body = Gathering::new(&options);
        for step in steps {
            match step {
                Ok(bytes) => body.push(bytes.as_bytes()),
                Err(length) => body.lose(*length),
            }
        }
        body.finish(Vec::new)
    }

    fn check(limit: Option<usize>, steps: &[Result<&str, u64>], expect: (u64, &str, bool)) {
        let (size, bytes, truncated) = expect;
        let bytes = Bytes::copy_from_slice(bytes.as_bytes());
        assert_eq!(gathered(limit, steps), Body { size, bytes, truncated }, "{steps:?}");
    }

    #[test]
    fn keeps_the_beginning_up_to_the_limit() {
        check(Some(4), &[Ok("ab"), Ok("cd")], (4, "abcd", false));
        check(Some(4), &[Ok("ab"), Ok("cde")], (5, "abcd", true));
        check(Some(4), &[Ok("abcde"), Ok("f")], (6, "abcd", true));
        check(Some(0), &[Ok("a")], (1, "", true));
    }

    #[test]
    fn keeps_nothing_behind_a_hole() {
        check(Some(9), &[Ok("ab"), Err(3), Ok("cd")], (7, "ab", true));
        check(Some(9), &[Err(u64::MAX), Ok("cd")], (u64::MAX, "", true));
    }

    #[test]
    fn only_counts_when_bodies_are_not_wanted() {
        check(None, &[Ok("ab"), Ok("cd")], (4, "", false));
        check(None, &[Ok("ab"), Err(1)], (3, "", true));
    }
}
