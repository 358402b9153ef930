//! Frames (specification, section 4.2): a type, a channel, a size, and an end that is always the same.

use super::methods;
use crate::decode::{
    Role,
    cursor::Cursor,
    frames::{Frame, Head},
};

/// Section 4.2.2: what a client sends first.
pub(super) const HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";
/// Section 4.2.3: "The frame-end octet MUST always be the hexadecimal value %xCE."
pub(super) const END: u8 = 0xce;
/// Servers agree on 128 KiB by default; more than this is no frame of anybody.
const LARGEST: u32 = 256 << 20;
const KEEP: usize = 8 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Protocol,
    Method,
    Header,
    Body,
    Heartbeat,
}

impl Kind {
    const fn of(octet: u8) -> Option<Self> {
        Some(match octet {
            b'A' => Self::Protocol,
            1 => Self::Method,
            2 => Self::Header,
            3 => Self::Body,
            8 => Self::Heartbeat,
            _ => return None,
        })
    }

    /// Whether a frame of this type may be so long on this channel.
    const fn fits(self, channel: u16, size: u32) -> bool {
        match self {
            Self::Heartbeat => channel == 0 && size == 0,
            Self::Method => 4 <= size && size <= LARGEST,
            Self::Header => channel > 0 && 14 <= size && size <= LARGEST,
            Self::Body => channel > 0 && size <= LARGEST,
            Self::Protocol => true,
        }
    }
}

pub(super) fn kind(frame: &Frame) -> Option<Kind> {
    Kind::of(*frame.head.first()?)
}

pub(super) fn channel(frame: &Frame) -> Option<u16> {
    let mut fields = Cursor(frame.head.get(1..)?);
    fields.int16()
}

/// Without the end, which counts as a part of what it ends.
pub(super) fn head(side: Role, head: &[u8]) -> Head {
    let Some(kind) = head.first().map(|&octet| Kind::of(octet)) else { return Head::More };
    let Some(kind) = kind else { return Head::Malformed };
    if kind == Kind::Protocol {
        return match head {
            _ if side == Role::Server || !HEADER.starts_with(head) => Head::Malformed,
            head if head.len() == HEADER.len() => Head::Body { length: 0, keep: 0 },
            _ => Head::More,
        };
    }
    let mut fields = Cursor(head.get(1..).unwrap_or_default());
    let (Some(channel), Some(size)) = (fields.int16(), fields.int32()) else { return Head::More };
    if !kind.fits(channel, size) {
        return Head::Malformed;
    }
    let keep = match kind {
        Kind::Method => KEEP,
        Kind::Header => 14,
        _ => 0,
    };
    Head::Body { length: u64::from(size) + 1, keep }
}

/// Whole frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chain {
    Weak,
    /// A method is among them that only this side may call.
    Strong,
}

/// Whether bytes are whole frames of a side to their end: what a program hands to the TLS library at
/// once. Behind a method of this side, the last one may be a part of a message.
pub(super) fn chain(side: Role, bytes: &[u8]) -> Option<Chain> {
    let mut chain = Chain::Weak;
    let mut rest = bytes;
    while let Some(&octet) = rest.first() {
        let kind = Kind::of(octet).filter(|&kind| kind != Kind::Protocol)?;
        let Head::Body { length, .. } = head(side, rest.get(..7)?) else { return None };
        let length = usize::try_from(length).ok()?;
        let Some(body) = rest.get(7..).and_then(|rest| rest.get(..length)) else {
            return (kind == Kind::Body && chain == Chain::Strong).then_some(chain);
        };
        if body.last() != Some(&END) {
            return None;
        }
        if kind == Kind::Method {
            let id = methods::id(body)?;
            let method = methods::find(side, id)?;
            methods::read(method, body)?;
            if methods::find(side.other(), id).is_none() {
                chain = Chain::Strong;
            }
        }
        rest = rest.get(7 + length..)?;
    }
    (!bytes.is_empty()).then_some(chain)
}
