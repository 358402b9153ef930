//! Bytes of a server in, responses out (RFC 9051, section 7): lines, in which literals of a length that
//! is said may stand.

use crate::{
    capture::Call,
    decode::dialogue::{Reader, Step},
};

/// How much is kept of a response: what is before its first literal.
const KEEP: usize = 8 << 10;
/// A line without literals is no longer; results of a search may be long.
const LINE_LIMIT: u64 = 16 << 20;
/// A literal is announced by fewer bytes.
const TAIL: usize = 32;

#[derive(Debug)]
pub(super) struct Response {
    /// The call that moved its first byte.
    pub(super) began: Call,
    /// Bytes, literals included.
    pub(super) size: u64,
    /// Up to its first literal, without the line end.
    pub(super) line: Vec<u8>,
    /// Whether some of that is not in `line`.
    pub(super) cut: bool,
}

#[derive(Debug, Default)]
pub(super) struct Responses {
    began: Option<Call>,
    size: u64,
    line: Vec<u8>,
    cut: bool,
    /// Bytes of the line that is read now.
    length: u64,
    /// The last of them.
    tail: Vec<u8>,
    /// What is left of a literal.
    literal: u64,
    /// Whether there was one.
    beyond: bool,
}

/// The length of the literal that a line announces at its end, and whether it is sent without being
/// asked for (RFC 7888).
pub(super) fn literal(line: &[u8]) -> Option<(u64, bool)> {
    let line = line.strip_suffix(b"}")?;
    let start = memchr::memrchr(b'{', line)? + 1;
    let number = line.get(start..)?;
    let (digits, unasked) = match number.strip_suffix(b"+").or(number.strip_suffix(b"-")) {
        Some(digits) => (digits, true),
        None => (number, false),
    };
    let valid = !digits.is_empty() && digits.len() <= 10 && digits.iter().all(u8::is_ascii_digit);
    let length = str::from_utf8(digits).ok().filter(|_| valid)?.parse().ok()?;
    Some((length, unasked))
}

/// Without its end.
pub(super) fn trimmed(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Whether a response is a status, whose text is for people and has no literals.
fn is_status(line: &[u8]) -> bool {
    let mut words = line.split(|&byte| byte == b' ');
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    const STATUS: [&[u8]; 5] = [b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"];
    first != b"*" || STATUS.iter().any(|status| second.eq_ignore_ascii_case(status))
}

impl Responses {
    fn keep(&mut self, bytes: &[u8]) {
        let count = bytes.len() as u64;
        self.size = self.size.saturating_add(count);
        self.length = self.length.saturating_add(count);
        if !self.beyond {
            let room = KEEP.saturating_sub(self.line.len());
            self.cut |= bytes.len() > room;
            self.line.extend(bytes.iter().take(room));
        }
        self.tail.extend_from_slice(bytes.get(bytes.len().saturating_sub(TAIL)..).unwrap_or(bytes));
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
    }

    /// The line is complete: whether the response is, too.
    fn end(&mut self) -> bool {
        let next = literal(trimmed(&self.tail)).filter(|_| !is_status(&self.line));
        self.length = 0;
        self.tail.clear();
        let Some((length, _)) = next else { return true };
        (self.literal, self.beyond) = (length, true);
        false
    }

    fn take(&mut self) -> Option<Response> {
        let Self { began, size, line, cut, .. } = std::mem::take(self);
        Some(Response { began: began?, size, line: trimmed(&line).to_vec(), cut })
    }
}

impl Reader for Responses {
    type Item = Response;

    fn step(&mut self, call: &Call, input: &mut &[u8]) -> Step<Response> {
        while !input.is_empty() {
            self.began.get_or_insert(*call);
            if self.literal > 0 {
                let left = usize::try_from(self.literal).unwrap_or(usize::MAX).min(input.len());
                *input = input.get(left..).unwrap_or_default();
                self.literal -= left as u64;
                self.size = self.size.saturating_add(left as u64);
                continue;
            }
            let end = memchr::memchr(b'\n', input);
            let length = end.map_or(input.len(), |end| end + 1);
            let (bytes, rest) = input.split_at_checked(length).unwrap_or((input, &[]));
            *input = rest;
            self.keep(bytes);
            if self.length > LINE_LIMIT {
                return Step::Malformed;
            }
            if end.is_some() && self.end() {
                return self.take().map_or(Step::Malformed, Step::Item);
            }
        }
        Step::More
    }

    fn skip(&mut self, length: u64) -> bool {
        // A loss to the very end might be longer than it says.
        if length == 0 || length >= self.literal {
            return false;
        }
        self.literal -= length;
        self.size = self.size.saturating_add(length);
        true
    }

    fn reset(&mut self) {
        *self = Self::default();
    }

    fn held(&self) -> usize {
        self.line.len() + self.tail.len()
    }

    fn unread(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }
}
