//! WebSocket (RFC 6455, section 5): text and binary messages, without the mask of the client's
//! frames, and with it again. Compressed messages are not looked into.

use super::{Edits, Read, Wire};
use crate::{
    capture::Direction,
    redact::{MASK, Patterns, scanner::Scanner},
};

#[derive(Debug)]
pub(super) struct WebSocket {
    client: Direction,
    /// By [`Direction::index`].
    sides: [Side; 2],
}

#[derive(Debug, Default)]
struct Side {
    head: Vec<u8>,
    /// Bytes of the payload that are still to come, and that came.
    left: u64,
    length: u64,
    mask: [u8; 4],
    /// Whether the message is looked into, and whether this frame is of it.
    data: bool,
    open: bool,
    scanner: Scanner,
    lost: bool,
}

impl WebSocket {
    pub(super) fn new(client: Direction) -> Self {
        Self { client, sides: [Side::default(), Side::default()] }
    }

    /// For one that is joined in its middle: a masked text, whose length is that of the bytes.
    pub(super) fn guess(bytes: &[u8], at: Direction) -> Option<Self> {
        let length = match bytes {
            [0x81, 0xfe, high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])) + 8,
            [0x81, second @ 0x80..0xfe, ..] => usize::from(second & 0x7f) + 6,
            _ => return None,
        };
        (length == bytes.len()).then(|| Self::new(at))
    }

    /// Reads frames from this place on.
    pub(super) fn frames(
        &mut self,
        at: Direction,
        bytes: &[u8],
        from: usize,
        of: &Patterns,
        edits: &mut Edits,
    ) {
        let masked = at == self.client;
        let side = at.of_mut(&mut self.sides);
        if std::mem::take(&mut side.lost) {
            (side.head, side.left) = (Vec::new(), 0);
        }
        let mut place = from;
        while let Some(rest) = bytes.get(place..).filter(|rest| !rest.is_empty()) {
            if side.left == 0 {
                side.head.extend(rest.first());
                place += 1;
                side.begin(masked);
                continue;
            }
            let most = usize::try_from(side.left).unwrap_or(usize::MAX);
            let near = rest.get(..most).unwrap_or(rest);
            side.payload(near, place, of, edits);
            place += near.len();
        }
    }
}

impl Side {
    /// Begins a frame, if its head is whole.
    fn begin(&mut self, masked: bool) {
        let [first, second, tail @ ..] = self.head.as_slice() else { return };
        let (length, behind) = match (second & 0x7f, tail) {
            (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 2),
            (127, _) if tail.len() >= 8 => {
                (tail.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte)), 8)
            }
            (126 | 127, _) => return,
            (length, _) => (u64::from(length), 0),
        };
        self.mask = match tail.get(behind..).unwrap_or_default() {
            [a, b, c, d, ..] if masked => [*a, *b, *c, *d],
            _ if masked => return,
            _ => [0; 4],
        };
        // Control frames come between those of a message, which goes on in frames of kind 0.
        let kind = first & 0x0f;
        if matches!(kind, 1 | 2) {
            self.open = first & 0x40 == 0;
            self.scanner = Scanner::default();
        }
        self.data = kind == 8 || (kind < 8 && self.open);
        (self.left, self.length) = (length, 0);
        self.head.clear();
    }

    fn payload(&mut self, near: &[u8], place: usize, of: &Patterns, edits: &mut Edits) {
        if self.data {
            let masks = |at: usize| {
                let shift = usize::try_from(self.length % 4).unwrap_or_default();
                self.mask.get((at + shift) % 4).copied().unwrap_or_default()
            };
            let plain: Vec<u8> =
                near.iter().enumerate().map(|(at, byte)| byte ^ masks(at)).collect();
            let mut places = self.scanner.scan(&plain);
            places.extend(of.own(&plain));
            for found in places {
                let hidden = found.clone().map(|at| MASK ^ masks(at)).collect();
                edits.patch(place + found.start, hidden);
            }
        }
        self.left -= near.len() as u64;
        self.length += near.len() as u64;
    }
}

impl Wire for WebSocket {
    fn read(&mut self, at: Direction, bytes: &[u8], of: &Patterns, edits: &mut Edits) -> Read {
        self.frames(at, bytes, 0, of, edits);
        Read::Whole
    }

    fn gap(&mut self, at: Direction, length: u64) {
        let side = at.of_mut(&mut self.sides);
        match length {
            1.. if side.left >= length => {
                side.left -= length;
                side.length += length;
            }
            _ => side.lost = true,
        }
    }
}
