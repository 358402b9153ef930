//! How the messages of the frontend/backend protocol are framed. Protocol documentation, section
//! 55.7 "Message Formats".

use crate::decode::{
    frames::{Frame, Framing, Head},
    pending::TEXT_LIMIT,
};

#[derive(Debug)]
pub(super) struct Typed {
    frontend: bool,
    /// Whether the next message may have no type: it begins a connection.
    begins: bool,
}

impl Typed {
    pub(super) const fn new(frontend: bool, begins: bool) -> Self {
        Self { frontend, begins }
    }
}

impl Framing for Typed {
    fn head(&mut self, head: &[u8]) -> Head {
        let startup = self.begins && head.first() == Some(&0);
        let (kind, length) = match head {
            [_, length @ ..] if !startup => (head.first().copied().unwrap_or(0), length),
            length => (0, length),
        };
        let Some(length) = length.first_chunk().map(|length| u32::from_be_bytes(*length)) else {
            return Head::More;
        };
        if (kind == 0 && !startup) || !is_plausible(self.frontend, kind, length) {
            return Head::Malformed;
        }
        self.begins = false;
        Head::Body { length: u64::from(length).saturating_sub(4), keep: keep(self.frontend, kind) }
    }

    fn reset(&mut self) {
        self.begins = false;
    }
}

/// The type of a message; 0 for those without one, which begin a connection.
pub(super) fn kind(frame: &Frame) -> u8 {
    match frame.head.as_slice() {
        [kind, _, _, _, _] => *kind,
        _ => 0,
    }
}

/// How much of a message is of use.
const fn keep(frontend: bool, kind: u8) -> usize {
    match (frontend, kind) {
        // CopyData, DataRow, and what holds secrets.
        (_, b'd') | (false, b'D') | (true, b'p') => 0,
        (true, _) => TEXT_LIMIT + 4096,
        (false, _) => 8 << 10,
    }
}

/// Whether a message of this type may be so long. "The length includes itself."
pub(super) fn is_plausible(frontend: bool, kind: u8, length: u32) -> bool {
    let lengths = match (frontend, kind) {
        (true, 0) => 8..=10_000,
        (true, b'X' | b'S' | b'H' | b'c')
        | (false, b'1' | b'2' | b'3' | b'n' | b's' | b'I' | b'c') => 4..=4,
        (false, b'Z') => 5..=5,
        (false, b'K') => 12..=268,
        (true, b'Q' | b'f') | (false, b'C') => 5..=0x4000_0000,
        (true, b'P') => 8..=0x4000_0000,
        (true, b'B') => 12..=0x4000_0000,
        (true, b'D' | b'C') => 6..=0x10000,
        (true, b'E') => 9..=0x10000,
        (true, b'F') => 14..=0x4000_0000,
        (true, b'p') => 5..=0x10000,
        (true, b'd') | (false, b'd' | b'V') => 4..=0x4000_0000,
        (false, b'D' | b'T' | b't') => 6..=0x4000_0000,
        (false, b'R') => 8..=0x10000,
        (false, b'E' | b'N') => 5..=0x10_0000,
        (false, b'S') => 6..=0x10_0000,
        (false, b'A') => 10..=0x10000,
        (false, b'G' | b'H' | b'W') => 7..=0x10000,
        (false, b'v') => 12..=0x10000,
        _ => return false,
    };
    lengths.contains(&length)
}
