//! Bytes of one direction in, messages of the frontend/backend protocol out, as much of each as is
//! of use. Protocol documentation, section 55.7 "Message Formats".

use crate::{capture::Call, decode::pending::TEXT_LIMIT};

/// A message, or its beginning.
#[derive(Debug)]
pub(super) struct Frame {
    /// The call that moved its first byte.
    pub(super) began: Call,
    /// 0 for the messages without a type, which begin a connection.
    pub(super) kind: u8,
    /// Bytes, type and length included.
    pub(super) size: u64,
    pub(super) body: Vec<u8>,
    /// Whether `body` is all of it.
    pub(super) whole: bool,
    pub(super) lost: bool,
}

pub(super) enum Step {
    More,
    Frame(Frame),
    Malformed,
}

#[derive(Debug)]
pub(super) struct Reader {
    frontend: bool,
    /// Whether the next message has no type.
    pub(super) startup: bool,
    head: Vec<u8>,
    began: Option<Call>,
    frame: Option<(Frame, u64)>,
}

impl Reader {
    pub(super) const fn new(frontend: bool, startup: bool) -> Self {
        Self { frontend, startup, head: Vec::new(), began: None, frame: None }
    }

    pub(super) fn unread(&self) -> usize {
        let frame = self.frame.as_ref().map_or(0, |(frame, left)| frame.size.saturating_sub(*left));
        self.head.len().saturating_add(usize::try_from(frame).unwrap_or(usize::MAX))
    }

    pub(super) fn held(&self) -> usize {
        self.head.len() + self.frame.as_ref().map_or(0, |(frame, _)| frame.body.len())
    }

    /// Passes over lost bytes within a message; `false` when it is not known what they were.
    pub(super) const fn skip(&mut self, length: u64) -> bool {
        let Some((frame, left)) = &mut self.frame else { return false };
        if length == 0 || length >= *left {
            return false;
        }
        *left -= length;
        frame.whole = false;
        frame.lost = true;
        true
    }

    pub(super) fn step(&mut self, call: &Call, input: &mut &[u8]) -> Step {
        loop {
            if self.frame.is_none() && !self.head(call, input) {
                return Step::Malformed;
            }
            let Some((frame, left)) = &mut self.frame else { return Step::More };
            let length = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
            let Some((bytes, rest)) = input.split_at_checked(length) else { return Step::More };
            *input = rest;
            *left -= length as u64;
            if frame.whole {
                let keep = keep(self.frontend, frame.kind).saturating_sub(frame.body.len());
                frame.whole = keep >= length;
                frame.body.extend_from_slice(bytes.get(..keep).unwrap_or(bytes));
            }
            if *left > 0 {
                return Step::More;
            }
            self.began = None;
            if let Some((frame, _)) = self.frame.take() {
                self.startup = false;
                return Step::Frame(frame);
            }
        }
    }

    /// Takes type and length; `false` when they are malformed.
    fn head(&mut self, call: &Call, input: &mut &[u8]) -> bool {
        let needed = if self.startup { 4 } else { 5 };
        while self.head.len() < needed {
            let Some((&byte, rest)) = input.split_first() else { return true };
            *input = rest;
            self.began.get_or_insert(*call);
            self.head.push(byte);
        }
        let Some(began) = self.began else { return true };
        let head = std::mem::take(&mut self.head);
        let kind = if self.startup { 0 } else { head.first().copied().unwrap_or(0) };
        let Some(length) = head.last_chunk().map(|length| u32::from_be_bytes(*length)) else {
            return false;
        };
        if !is_plausible(self.frontend, kind, length) {
            return false;
        }
        let size = u64::from(length) + u64::from(kind != 0);
        let left = u64::from(length) - 4;
        let frame = Frame { began, kind, size, body: Vec::new(), whole: true, lost: false };
        self.frame = Some((frame, left));
        true
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
