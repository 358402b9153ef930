//! Bytes of one direction in, RESP values out: walked over without keeping more than the beginning
//! of each.

use crate::{
    capture::Call,
    decode::dialogue::{Reader, Step},
};

/// A line with a number, a simple string or an error.
const LINE_LIMIT: usize = 64 << 10;
/// Aggregates in aggregates.
const DEPTH_LIMIT: usize = 64;
/// proto-max-bulk-len is 512 MiB unless configured; lengths are signed in Redis.
const LENGTH_LIMIT: u64 = 1 << 40;

/// A value, or its beginning.
#[derive(Debug)]
pub(super) struct Value {
    /// The call that moved its first byte.
    pub(super) began: Call,
    /// Bytes, framing included.
    pub(super) size: u64,
    /// The first byte of its type; 0 for an inline command.
    pub(super) kind: u8,
    /// Elements of an aggregate, pairs of a map; `None` for others, and for null.
    pub(super) count: Option<u64>,
    /// A null of any type.
    pub(super) null: bool,
    /// The scalars in it, in order, as far as they are kept.
    pub(super) parts: Vec<Part>,
    /// Whether some scalars are not in `parts`, or not whole.
    pub(super) cut: bool,
    /// Whether some of its bytes were lost.
    pub(super) lost: bool,
    /// Whether all of its elements are bulk strings: it may be a command.
    pub(super) bulks: bool,
}

/// A scalar, or its beginning.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) bytes: Vec<u8>,
    pub(super) whole: bool,
}

impl Value {
    pub(super) const fn is_error(&self) -> bool {
        matches!(self.kind, b'-' | b'!')
    }

    pub(super) fn part(&self, index: usize) -> &[u8] {
        self.parts.get(index).map(|part| part.bytes.as_slice()).unwrap_or_default()
    }
}

/// Walks over the values of one direction.
#[derive(Debug)]
pub(super) struct Values {
    commands: bool,
    /// How many bytes of scalars are kept of a value, and how many scalars.
    keep: usize,
    parts: usize,
    value: Option<Value>,
    line: Vec<u8>,
    /// What is left of a bulk, its line end included.
    bulk: Option<u64>,
    /// Open aggregates: what is left of each, and whether it is an attribute, which stands before
    /// the value it belongs to.
    open: Vec<(u64, bool)>,
    kept: usize,
}

impl Values {
    pub(super) const fn commands() -> Self {
        Self::new(true, crate::decode::pending::TEXT_LIMIT, 1024)
    }

    pub(super) const fn replies() -> Self {
        Self::new(false, 8 << 10, 4)
    }

    const fn new(commands: bool, keep: usize, parts: usize) -> Self {
        Self {
            commands,
            keep,
            parts,
            value: None,
            line: Vec::new(),
            bulk: None,
            open: Vec::new(),
            kept: 0,
        }
    }

    fn took(&mut self, length: usize) {
        if let Some(value) = &mut self.value {
            value.size = value.size.saturating_add(length as u64);
        }
    }

    /// Whether the value is complete; `None` when it is malformed.
    fn bulk(&mut self, input: &mut &[u8]) -> Option<bool> {
        let left = self.bulk?;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
        let (bytes, rest) = input.split_at_checked(length)?;
        *input = rest;
        self.took(length);
        let text = left.saturating_sub(2).min(length as u64);
        let text = usize::try_from(text).ok()?;
        self.keep(bytes.get(..text)?);
        // The line end.
        for (index, &byte) in bytes.get(text..)?.iter().enumerate() {
            let place = left.saturating_sub((text + index) as u64);
            if byte != (if place == 2 { b'\r' } else { b'\n' }) {
                return None;
            }
        }
        let left = left - length as u64;
        self.bulk = Some(left);
        if left > 0 {
            return Some(false);
        }
        self.bulk = None;
        Some(self.element())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let Some(value) = &mut self.value else { return };
        let room = self.keep.saturating_sub(self.kept).min(bytes.len());
        if let Some(part) = value.parts.last_mut().filter(|part| part.whole) {
            part.bytes.extend_from_slice(bytes.get(..room).unwrap_or_default());
            part.whole = room == bytes.len();
            value.cut |= !part.whole;
            self.kept += room;
        }
    }

    fn part(&mut self) {
        let Some(value) = &mut self.value else { return };
        if value.cut || value.parts.len() >= self.parts {
            value.cut = true;
            if let Some(part) = value.parts.last_mut() {
                // What follows is none of its bytes.
                part.whole &= false;
            }
            return;
        }
        self.kept += size_of::<Part>();
        value.parts.push(Part { bytes: Vec::new(), whole: true });
    }

    /// One element is complete: whether the value is.
    fn element(&mut self) -> bool {
        while let Some((left, attribute)) = self.open.last_mut() {
            *left = left.saturating_sub(1);
            if *left > 0 {
                return false;
            }
            let attribute = *attribute;
            self.open.pop();
            if attribute {
                return false;
            }
        }
        true
    }

    fn line(&mut self, input: &mut &[u8]) -> Option<bool> {
        let end = memchr::memchr(b'\n', input);
        let length = end.map_or(input.len(), |end| end + 1);
        let (bytes, rest) = input.split_at_checked(length)?;
        *input = rest;
        self.took(length);
        if self.line.len() + length > LINE_LIMIT {
            return None;
        }
        self.line.extend_from_slice(bytes);
        if end.is_none() {
            return Some(false);
        }
        let line = std::mem::take(&mut self.line);
        let first =
            self.value.as_ref().is_some_and(|value| value.kind == 0) && self.open.is_empty();
        if self.commands && first && line.first() != Some(&b'*') {
            self.inline(&line);
            return Some(true);
        }
        self.token(line.strip_suffix(b"\r\n")?, first)
    }

    /// "Inline commands": words with spaces between.
    fn inline(&mut self, line: &[u8]) {
        for word in line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
            self.part();
            self.keep(word);
        }
    }

    fn token(&mut self, line: &[u8], first: bool) -> Option<bool> {
        let (&kind, rest) = line.split_first()?;
        let value = self.value.as_mut()?;
        if first && kind != b'|' {
            value.kind = kind;
        }
        if self.commands && ((first && kind != b'*') || (!first && kind != b'$')) {
            return None;
        }
        match kind {
            b'+' | b'-' | b':' | b',' | b'#' | b'(' => {
                value.bulks = false;
                self.scalar(kind, rest)
            }
            b'_' => rest.is_empty().then(|| self.null(first)),
            b'$' | b'!' | b'=' if rest == b"-1" => (kind == b'$').then(|| self.null(first)),
            b'$' | b'!' | b'=' => {
                let length = number(rest)?;
                self.part();
                self.bulk = Some(length + 2);
                Some(false)
            }
            b'*' if rest == b"-1" => Some(self.null(first)),
            b'*' | b'~' | b'>' | b'%' | b'|' => self.aggregate(kind, number(rest)?, first),
            _ => None,
        }
    }

    fn scalar(&mut self, kind: u8, text: &[u8]) -> Option<bool> {
        let number = |text: &[u8]| {
            let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
            !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
        };
        let valid = match kind {
            b':' | b'(' => number(text),
            b'#' => matches!(text, b"t" | b"f"),
            b',' => !text.is_empty() && text.len() < 64 && text.is_ascii(),
            _ => !text.contains(&b'\r'),
        };
        if !valid {
            return None;
        }
        self.part();
        self.keep(text);
        Some(self.element())
    }

    fn null(&mut self, first: bool) -> bool {
        if let Some(value) = &mut self.value {
            value.null |= first;
            value.bulks = false;
        }
        self.element()
    }

    fn aggregate(&mut self, kind: u8, count: u64, first: bool) -> Option<bool> {
        let value = self.value.as_mut()?;
        if first && kind != b'|' {
            value.count = Some(count);
        }
        value.bulks &= first;
        let elements = if matches!(kind, b'%' | b'|') { count.checked_mul(2)? } else { count };
        if elements == 0 {
            return Some(kind != b'|' && self.element());
        }
        if self.open.len() >= DEPTH_LIMIT {
            return None;
        }
        self.open.push((elements, kind == b'|'));
        Some(false)
    }
}

impl Reader for Values {
    type Item = Value;

    fn reset(&mut self) {
        *self = Self::new(self.commands, self.keep, self.parts);
    }

    fn held(&self) -> usize {
        self.line.len() + self.kept
    }

    fn unread(&self) -> usize {
        let size = self.value.as_ref().map_or(0, |value| value.size);
        usize::try_from(size).unwrap_or(usize::MAX)
    }

    fn skip(&mut self, length: u64) -> bool {
        // Its line end must come yet: a loss to the very end might be longer than it says.
        let (Some(left), Some(value)) = (&mut self.bulk, &mut self.value) else { return false };
        if length == 0 || length.saturating_add(2) > *left {
            return false;
        }
        *left -= length;
        value.size = value.size.saturating_add(length);
        value.lost = true;
        value.cut = true;
        if let Some(part) = value.parts.last_mut() {
            part.whole = false;
        }
        true
    }

    fn step(&mut self, call: &Call, input: &mut &[u8]) -> Step<Value> {
        while !input.is_empty() {
            self.value.get_or_insert_with(|| Value {
                began: *call,
                size: 0,
                kind: 0,
                count: None,
                null: false,
                parts: Vec::new(),
                cut: false,
                lost: false,
                bulks: true,
            });
            let done = if self.bulk.is_some() { self.bulk(input) } else { self.line(input) };
            match done {
                Some(false) => {}
                None => return Step::Malformed,
                Some(true) => {
                    if let Some(value) = self.value.take() {
                        self.reset();
                        return Step::Item(value);
                    }
                }
            }
        }
        Step::More
    }
}

fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 13 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok().filter(|&number| number <= LENGTH_LIMIT)
}
