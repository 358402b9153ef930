//! The first segments of a connection in, its protocol out.
//!
//! A connection may have been joined in its middle, so every segment's beginning is looked at, in
//! both directions: programs hand a message's beginning to the TLS library as a call's beginning.

use bytes::Bytes;

use super::{
    Role,
    protocol::{FAMILIES, Family, Guess, Sighting},
};
use crate::{
    capture::Direction,
    reassemble::{Segment, SegmentContent},
};

/// A connection without a message start in so many bytes has another protocol.
const DETECT_LIMIT: u64 = 1 << 20;

/// What is known after a segment.
#[derive(Debug)]
pub(super) enum Detection {
    /// Nothing yet.
    Unknown,
    /// A protocol.
    Known {
        family: Family,
        role: Role,
        /// The segments since the first message start, in order.
        held: Vec<Segment>,
        /// Whether bytes were lost before it.
        gap: bool,
    },
    /// No protocol that has a decoder.
    Opaque,
}

/// Looks for a protocol.
#[derive(Debug, Default)]
pub(super) struct Detector {
    bytes: u64,
    /// By [`Direction::index`].
    candidates: [Candidate; 2],
    /// The segments that the candidates came in.
    held: Vec<Segment>,
    gap: bool,
}

/// Bytes that may be the beginning of a message.
#[derive(Debug, Default)]
struct Candidate {
    bytes: Vec<u8>,
    /// Whether something of this direction came before them.
    late: bool,
}

/// A copy of a segment that keeps nothing alive but itself: its bytes share a block with others.
fn apart(segment: &Segment) -> Segment {
    let mut segment = segment.clone();
    if let SegmentContent::Data { bytes, .. } = &mut segment.content {
        *bytes = Bytes::copy_from_slice(bytes);
    }
    segment
}

impl Detector {
    pub(super) fn push(&mut self, segment: &Segment, at: Direction, bytes: &[u8]) -> Detection {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        let joined = !self.candidate(at).bytes.is_empty();
        self.candidate(at).bytes.extend_from_slice(bytes);
        let mut found = self.look(at);
        if matches!(found, Found::Nothing) && joined {
            self.clear(at);
            self.candidate(at).bytes.extend_from_slice(bytes);
            found = self.look(at);
        }
        match found {
            Found::Nothing => self.clear(at),
            Found::Perhaps => self.held.push(apart(segment)),
            Found::Family(family, role) => {
                self.held.push(segment.clone());
                let held = std::mem::take(&mut self.held);
                return Detection::Known { family, role, held, gap: self.gap };
            }
        }
        if self.bytes > DETECT_LIMIT { Detection::Opaque } else { Detection::Unknown }
    }

    pub(super) fn gap(&mut self, at: Direction) {
        self.gap = true;
        self.clear(at);
    }

    /// Bytes that are kept.
    pub(super) fn held(&self) -> usize {
        // Once in the segments, once in a row.
        2 * self.unread().into_iter().sum::<usize>()
    }

    /// By [`Direction::index`]: how many of the last bytes may begin a message.
    pub(super) fn unread(&self) -> [usize; 2] {
        self.candidates.each_ref().map(|candidate| candidate.bytes.len())
    }

    fn candidate(&mut self, at: Direction) -> &mut Candidate {
        at.of_mut(&mut self.candidates)
    }

    fn look(&self, at: Direction) -> Found {
        let Candidate { bytes, late } = at.of(&self.candidates);
        let sighting = Sighting { bytes, at, first: !late && !self.gap };
        let mut found = Found::Nothing;
        for family in FAMILIES {
            match (family.guess)(&sighting) {
                Guess::Yes(role) => return Found::Family(family, role),
                Guess::Maybe => found = Found::Perhaps,
                Guess::No => {}
            }
        }
        found
    }

    fn clear(&mut self, at: Direction) {
        *self.candidate(at) = Candidate { bytes: Vec::new(), late: true };
        self.held.retain(|segment| match &segment.content {
            SegmentContent::Data { direction, .. } => *direction != at,
            _ => false,
        });
    }
}

enum Found {
    Nothing,
    Perhaps,
    Family(Family, Role),
}
