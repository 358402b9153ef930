//! The first segments of a connection in, its protocol out.
//!
//! A connection may have been joined in its middle, so every segment's beginning is looked at, in
//! both directions: programs hand a message's beginning to the TLS library as a call's beginning.

use bytes::Bytes;

use super::{
    Role,
    http1::{Probe, request_line, status_line},
};
use crate::{
    capture::Direction,
    reassemble::{Segment, SegmentContent},
};

/// A connection without a message start in so many bytes has another protocol.
const DETECT_LIMIT: u64 = 1 << 20;

/// RFC 9113, section 3.4: the client connection preface starts so.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// What is known after a segment.
#[derive(Debug)]
pub(super) enum Detection {
    /// Nothing yet.
    Unknown,
    /// HTTP/1.
    Http1 {
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
    /// By [`Direction::index`]: bytes that may be the beginning of a message.
    candidates: [Vec<u8>; 2],
    /// The segments that the candidates came in.
    held: Vec<Segment>,
    gap: bool,
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
        let joined = !self.candidate(at).is_empty();
        self.candidate(at).extend_from_slice(bytes);
        let mut probe = probe(self.candidate(at), at);
        if matches!(probe, Found::Nothing) && joined {
            self.clear(at);
            self.candidate(at).extend_from_slice(bytes);
            probe = self::probe(self.candidate(at), at);
        }
        match probe {
            Found::Nothing => self.clear(at),
            Found::Perhaps => self.held.push(apart(segment)),
            Found::Http2 => return Detection::Opaque,
            Found::Http1(role) => {
                self.held.push(segment.clone());
                let held = std::mem::take(&mut self.held);
                return Detection::Http1 { role, held, gap: self.gap };
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
        self.candidates.each_ref().map(Vec::len)
    }

    fn candidate(&mut self, at: Direction) -> &mut Vec<u8> {
        let [transmit, receive] = &mut self.candidates;
        match at {
            Direction::Transmit => transmit,
            Direction::Receive => receive,
        }
    }

    fn clear(&mut self, at: Direction) {
        self.candidate(at).clear();
        self.held.retain(|segment| match &segment.content {
            SegmentContent::Data { direction, .. } => *direction != at,
            _ => false,
        });
    }
}

enum Found {
    Nothing,
    Perhaps,
    Http1(Role),
    Http2,
}

fn probe(bytes: &[u8], at: Direction) -> Found {
    if bytes.starts_with(HTTP2_PREFACE) {
        return Found::Http2;
    }
    match (request_line(bytes), status_line(bytes)) {
        (Probe::Start, _) => Found::Http1(Role::of_requests(at)),
        (_, Probe::Start) => Found::Http1(Role::of_requests(at.opposite())),
        (Probe::No, Probe::No) => Found::Nothing,
        _ => Found::Perhaps,
    }
}
