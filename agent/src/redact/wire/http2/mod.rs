//! HTTP/2 (RFC 9113): header blocks, whose strings are masked within their coding, and bodies, by
//! stream, so that other frames between the parts of one do not disturb.

mod block;
mod huffman;

use std::collections::HashMap;

use self::block::Block;
use super::{Edits, Read, Wire};
use crate::{
    capture::Direction,
    decode::http2::{Verdict, look},
    redact::{Patterns, scanner::Scanner},
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD: usize = 9;
/// Streams whose bodies are looked into apart; those of others are looked into as one.
const STREAMS: usize = 256;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

pub(super) fn guess(bytes: &[u8], _: Direction, _: bool) -> Option<Box<dyn Wire>> {
    let begins = if bytes.starts_with(b"PRI") { bytes.len() > 3 } else { bytes.len() >= HEAD };
    let known = begins && look(bytes) != Verdict::No;
    known.then(|| Box::new(Http2::default()) as Box<dyn Wire>)
}

#[derive(Debug)]
struct Http2 {
    /// By [`Direction::index`].
    sides: [Side; 2],
}

impl Default for Http2 {
    fn default() -> Self {
        // Either of them may be joined within a frame.
        let side = || Side { sought: true, ..Side::default() };
        Self { sides: [side(), side()] }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Bytes in front of the content, of padding behind it, and of both and the content.
    before: usize,
    padding: usize,
    left: usize,
    /// The length of the padding is still to come.
    padded: bool,
}

/// One direction.
#[derive(Debug, Default)]
struct Side {
    preface: Option<usize>,
    head: Vec<u8>,
    frame: Option<Frame>,
    /// A beginning of frames is looked for.
    sought: bool,
    begun: bool,
    block: Block,
    bodies: HashMap<u32, Scanner>,
    other: Scanner,
}

impl Side {
    fn read(&mut self, bytes: &[u8], of: &Patterns, edits: &mut Edits) -> Read {
        let first = !std::mem::replace(&mut self.begun, true);
        let between = self.frame.is_none() && self.head.is_empty() && self.preface.is_none();
        if first && bytes.starts_with(b"P") || between && bytes.starts_with(b"PRI * H") {
            self.preface = Some(0);
            self.block = Block::first();
        }
        if self.sought {
            if look(bytes) == Verdict::No {
                return Read::AsText;
            }
            self.sought = false;
        }
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.step(rest, at, of, edits) {
                Some(taken) => at += taken,
                None => return Read::Lost,
            }
        }
        Read::Whole
    }

    /// Takes bytes; gives how many. `None` when they are not of HTTP/2.
    fn step(&mut self, rest: &[u8], at: usize, of: &Patterns, edits: &mut Edits) -> Option<usize> {
        if let Some(seen) = self.preface {
            self.preface = (seen + 1 < PREFACE.len()).then_some(seen + 1);
            return (rest.first() == PREFACE.get(seen)).then_some(1);
        }
        let Some(frame) = &mut self.frame else {
            self.head.extend(rest.first());
            return self.begin().map(|()| 1);
        };
        if std::mem::take(&mut frame.padded) {
            frame.padding = usize::from(*rest.first()?);
            frame.left = frame.left.checked_sub(1)?;
            self.finish()?;
            return Some(1);
        }
        let (part, hidden) = match frame.left.checked_sub(frame.padding) {
            _ if frame.before > 0 => (frame.before, false),
            Some(content @ 1..) => (content, true),
            _ => (frame.left, false),
        };
        let near = rest.get(..part.min(frame.left)).unwrap_or(rest);
        frame.left -= near.len();
        frame.before = frame.before.saturating_sub(near.len());
        let frame = *frame;
        if hidden {
            self.content(&frame, near, at, of, edits)?;
        }
        self.finish()?;
        Some(near.len())
    }

    /// Begins a frame, if its head is whole.
    fn begin(&mut self) -> Option<()> {
        let Some([a, b, c, kind, flags, stream @ ..]) = self.head.first_chunk::<HEAD>() else {
            return Some(());
        };
        let left = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let stream = u32::from_be_bytes(*stream) & 0x7fff_ffff;
        let (kind, flags) = (*kind, *flags);
        // RFC 9113, section 6.10: nothing comes in between the frames of a block.
        if self.block.is_open() != (kind == CONTINUATION) {
            return None;
        }
        let block = matches!(kind, HEADERS | PUSH_PROMISE);
        let padded = flags & PADDED != 0 && (block || kind == DATA);
        let before = match kind {
            HEADERS if flags & PRIORITY != 0 => 5,
            PUSH_PROMISE => 4,
            _ => 0,
        };
        if block {
            self.block.begin();
        }
        self.head.clear();
        self.frame = Some(Frame { kind, flags, stream, before, padding: 0, left, padded });
        self.finish()
    }

    /// Ends the frame, if all of it came.
    fn finish(&mut self) -> Option<()> {
        let Some(frame) = self.frame.filter(|frame| frame.left == 0) else { return Some(()) };
        self.frame = None;
        match frame.kind {
            HEADERS | PUSH_PROMISE | CONTINUATION if frame.flags & END_HEADERS != 0 => {
                self.block.end()?;
            }
            DATA if frame.flags & END_STREAM != 0 => {
                self.bodies.remove(&frame.stream);
            }
            _ => {}
        }
        Some(())
    }

    fn content(
        &mut self,
        frame: &Frame,
        bytes: &[u8],
        at: usize,
        of: &Patterns,
        edits: &mut Edits,
    ) -> Option<()> {
        match frame.kind {
            HEADERS | PUSH_PROMISE | CONTINUATION => self.block.read(bytes, at, of, edits)?,
            DATA => {
                let room = self.bodies.len() < STREAMS || self.bodies.contains_key(&frame.stream);
                let scanner = match room {
                    true => self.bodies.entry(frame.stream).or_default(),
                    false => &mut self.other,
                };
                let places = scanner.scan(bytes).into_iter().chain(of.own(bytes));
                places.for_each(|place| edits.mask(at + place.start..at + place.end));
            }
            _ => {}
        }
        Some(())
    }

    fn gap(&mut self, length: u64) {
        let lost = usize::try_from(length).ok().filter(|lost| *lost > 0);
        if let (Some(frame), Some(lost)) = (&mut self.frame, lost)
            && !matches!(frame.kind, HEADERS | PUSH_PROMISE | CONTINUATION)
            && !frame.padded
            && frame.left > lost
        {
            frame.left -= lost;
            return;
        }
        let bodies = std::mem::take(&mut self.bodies);
        *self = Self { sought: true, begun: true, bodies, ..Self::default() };
    }
}

impl Wire for Http2 {
    fn read(&mut self, at: Direction, bytes: &[u8], of: &Patterns, edits: &mut Edits) -> Read {
        let side = at.of_mut(&mut self.sides);
        let first = !side.begun;
        let read = side.read(bytes, of, edits);
        // RFC 9113, section 3.4: with the preface a connection begins, so that both tables are empty.
        if first && at.of(&self.sides).block.is_first() {
            let other = at.opposite().of_mut(&mut self.sides);
            if !other.begun {
                other.block = Block::first();
            }
        }
        read
    }

    fn gap(&mut self, at: Direction, length: u64) {
        at.of_mut(&mut self.sides).gap(length);
    }
}
