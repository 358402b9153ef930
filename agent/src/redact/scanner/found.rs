//! The places of secrets, as a scan finds them.

use std::ops::Range;

/// Places, those that touch joined.
#[derive(Default)]
pub(super) struct Found(pub(super) Vec<Range<usize>>);

impl Found {
    pub(super) fn add(&mut self, at: usize) {
        match self.0.last_mut() {
            Some(last) if last.end == at => last.end += 1,
            _ => self.0.push(at..at + 1),
        }
    }

    /// The last bytes before a place were no secret.
    pub(super) fn give_back(&mut self, length: usize, at: usize) {
        if let Some(last) = self.0.last_mut().filter(|last| last.end == at) {
            last.end = last.end.saturating_sub(length).max(last.start);
        }
    }
}
