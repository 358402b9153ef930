//! What must change in bytes: places that are masked, and bytes that stand in place of others, where
//! a mask would not be one in the coding at hand.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::super::{MASK, fill};

#[derive(Debug, Default)]
pub(super) struct Edits {
    masks: Vec<Range<usize>>,
    patches: Vec<(usize, Vec<u8>)>,
}

impl Edits {
    pub(super) fn mask(&mut self, place: Range<usize>) {
        if !place.is_empty() {
            self.masks.push(place);
        }
    }

    /// These stand there instead, as many as there were.
    pub(super) fn patch(&mut self, at: usize, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.patches.push((at, bytes));
        }
    }

    /// As [`Self::mask`], with this for each byte.
    pub(super) fn fill(&mut self, place: Range<usize>, byte: u8) {
        match byte {
            MASK => self.mask(place),
            _ => self.patch(place.start, vec![byte; place.len()]),
        }
    }

    pub(super) fn apply(self, bytes: &mut Bytes) {
        if self.masks.is_empty() && self.patches.is_empty() {
            return;
        }
        // In place, if nobody else has them.
        let whole = std::mem::take(bytes);
        let mut changed = whole.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        for (at, patch) in self.patches {
            if let Some(old) = changed.get_mut(at..at + patch.len()) {
                old.copy_from_slice(&patch);
            }
        }
        self.masks.into_iter().for_each(|place| fill(&mut changed, place));
        *bytes = changed.freeze();
    }
}
