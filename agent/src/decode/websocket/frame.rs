//! The head of a frame (RFC 6455, section 5.2).

use super::Opcode;

/// RFC 6455, section 5.5: a control frame's payload is no longer.
const CONTROL_LIMIT: u64 = 125;

/// What a receiver must see, or fail the connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// A client masks all frames, a server none.
    pub(super) masked: bool,
    /// Whether permessage-deflate was agreed on.
    pub(super) deflate: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) last: bool,
    pub(super) compressed: bool,
    /// Absent for a continuation.
    pub(super) opcode: Option<Opcode>,
    pub(super) length: u64,
    pub(super) mask: [u8; 4],
}

impl Head {
    pub(super) const fn is_control(&self) -> bool {
        matches!(self.opcode, Some(Opcode::Close | Opcode::Ping | Opcode::Pong))
    }
}

#[derive(Debug)]
pub(super) enum Parsed {
    /// So many bytes, the head and none of the payload.
    Head(Head, usize),
    More,
    Malformed,
}

impl Rules {
    /// Reads a head, which is no longer than 14 bytes.
    pub(super) fn head(self, bytes: &[u8]) -> Parsed {
        let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else {
            return match bytes.first() {
                Some(&first) if self.first(first).is_none() => Parsed::Malformed,
                _ => Parsed::More,
            };
        };
        let Some(head) = self.first(first) else { return Parsed::Malformed };
        if (second & 0x80 != 0) != self.masked {
            return Parsed::Malformed;
        }
        let (length, behind) = match (second & 0x7f, bytes.get(2..)) {
            (126, Some([a, b, ..])) => (u64::from(u16::from_be_bytes([*a, *b])), 4),
            (127, Some([a, b, c, d, e, f, g, h, ..])) => {
                (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10)
            }
            (126 | 127, _) => return Parsed::More,
            (length, _) => (u64::from(length), 2),
        };
        // "The minimal number of bytes MUST be used"; the most significant bit of the longest is 0.
        let shortest = match behind {
            2 => true,
            4 => length > 125,
            _ => (0x1_0000..1 << 63).contains(&length),
        };
        if !shortest || (head.is_control() && length > CONTROL_LIMIT) {
            return Parsed::Malformed;
        }
        let mask = match (self.masked, bytes.get(behind..)) {
            (false, _) => [0; 4],
            (true, Some([a, b, c, d, ..])) => [*a, *b, *c, *d],
            (true, _) => return Parsed::More,
        };
        let end = if self.masked { behind + 4 } else { behind };
        Parsed::Head(Head { length, mask, ..head }, end)
    }

    fn first(self, byte: u8) -> Option<Head> {
        let opcode = match byte & 0x0f {
            0 => None,
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            _ => return None,
        };
        let (last, compressed) = (byte & 0x80 != 0, byte & 0x40 != 0);
        let head = Head { last, compressed, opcode, length: 0, mask: [0; 4] };
        // RFC 7692, section 6.1: only the first frame of a message says that it is compressed.
        let data = matches!(opcode, Some(Opcode::Text | Opcode::Binary));
        let allowed = !compressed || (self.deflate && data);
        (allowed && byte & 0x30 == 0 && (last || !head.is_control())).then_some(head)
    }

    /// Whether these are whole frames, and nothing else.
    pub(super) fn are_whole(self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let Parsed::Head(head, length) = self.head(bytes) else { return false };
            let rest = usize::try_from(head.length).ok().and_then(|of| of.checked_add(length));
            let Some(rest) = rest.and_then(|end| bytes.get(end..)) else { return false };
            bytes = rest;
        }
        true
    }
}
