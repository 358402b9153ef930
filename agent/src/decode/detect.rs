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

/// Looks for a protocol. Small, as there is one for each connection that has shown none.
#[derive(Debug, Default)]
pub(super) struct Detector {
    bytes: u64,
    /// By [`Direction::index`]: whether something came before what may begin a message.
    late: [bool; 2],
    gap: bool,
    /// Absent while nothing may.
    begun: Option<Box<Begun>>,
}

/// What may begin messages.
#[derive(Debug, Default)]
struct Begun {
    /// By [`Direction::index`].
    bytes: [Vec<u8>; 2],
    /// The segments that they came in.
    segments: Vec<Segment>,
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
        let found = match self.go_on(at, bytes) {
            Found::Nothing => self.begin(at, bytes),
            found => found,
        };
        match found {
            Found::Nothing => self.clear(at),
            Found::Perhaps => self.begun().segments.push(apart(segment)),
            Found::Family(family, role) => {
                let mut held = std::mem::take(&mut self.begun().segments);
                held.push(segment.clone());
                return Detection::Known { family, role, held, gap: self.gap };
            }
        }
        if self.bytes > DETECT_LIMIT { Detection::Opaque } else { Detection::Unknown }
    }

    /// What bytes are together with those that may begin a message, if there are any.
    fn go_on(&mut self, at: Direction, bytes: &[u8]) -> Found {
        let first = self.is_first(at);
        let Some(begun) = &mut self.begun else { return Found::Nothing };
        let begun = at.of_mut(&mut begun.bytes);
        if begun.is_empty() {
            return Found::Nothing;
        }
        begun.extend_from_slice(bytes);
        let found = look(&Sighting { bytes: begun, at, first });
        if matches!(found, Found::Nothing) {
            self.clear(at);
        }
        found
    }

    /// What bytes are alone. Most begin nothing, so they are looked at where they lie.
    fn begin(&mut self, at: Direction, bytes: &[u8]) -> Found {
        let found = look(&Sighting { bytes, at, first: self.is_first(at) });
        if matches!(found, Found::Perhaps) {
            at.of_mut(&mut self.begun().bytes).extend_from_slice(bytes);
        }
        found
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
        self.begun.as_ref().map_or([0, 0], |begun| begun.bytes.each_ref().map(Vec::len))
    }

    fn begun(&mut self) -> &mut Begun {
        self.begun.get_or_insert_default()
    }

    /// Whether nothing of a direction came before what may begin a message.
    fn is_first(&self, at: Direction) -> bool {
        !at.of(&self.late) && !self.gap
    }

    /// Nothing of a direction begins a message so far.
    fn clear(&mut self, at: Direction) {
        *at.of_mut(&mut self.late) = true;
        let Some(begun) = &mut self.begun else { return };
        *at.of_mut(&mut begun.bytes) = Vec::new();
        begun.segments.retain(|segment| match &segment.content {
            SegmentContent::Data { direction, .. } => *direction != at,
            _ => false,
        });
        if begun.segments.is_empty() {
            self.begun = None;
        }
    }
}

fn look(sighting: &Sighting<'_>) -> Found {
    let mut found = Found::Nothing;
    for family in FAMILIES {
        match (family.guess)(sighting) {
            Guess::Yes(role) => return Found::Family(family, role),
            Guess::Maybe => found = Found::Perhaps,
            Guess::No => {}
        }
    }
    found
}

enum Found {
    Nothing,
    Perhaps,
    Family(Family, Role),
}
