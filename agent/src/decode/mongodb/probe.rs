//! What tells MongoDB from other protocols: a header whose fields agree with what follows.

use super::{
    bson,
    sections::{COMPRESSORS, KNOWN_FLAGS},
    wire::{Header, Opcode},
};
use crate::decode::{
    Role,
    protocol::{Guess, Sighting},
};

/// Header, flags, the kind of the first section, and its length.
const ENOUGH: usize = 25;

pub(super) fn guess(sighting: &Sighting<'_>) -> Guess {
    let bytes = sighting.bytes;
    if bytes.len() < ENOUGH {
        return if may_begin(bytes) { Guess::Maybe } else { Guess::No };
    }
    match Header::of(bytes) {
        // "responseTo: The requestID taken from the messages from the client."
        Some(Header { answers: 0, .. }) if is_message(bytes) => {
            Guess::Yes(Role::of_requests(sighting.at))
        }
        _ => Guess::No,
    }
}

/// Whether bytes, fewer than are needed, may become a message.
fn may_begin(bytes: &[u8]) -> bool {
    // The highest byte of the length.
    let length = bytes.get(3).is_none_or(|&high| high < 3);
    let code = bytes.get(12..16).or(bytes.get(12..)).unwrap_or_default();
    let known = |opcode: Opcode| (opcode as u32).to_le_bytes().starts_with(code);
    let opcodes = [Opcode::Message, Opcode::Query, Opcode::Compressed];
    length && bytes.len() >= 4 && (bytes.len() < 12 || opcodes.into_iter().any(known))
}

/// Whether bytes begin with a message whose beginning is in order.
pub(super) fn is_message(bytes: &[u8]) -> bool {
    let (Some(header), Some(body)) = (Header::of(bytes), bytes.get(16..)) else { return false };
    let length = header.length as usize;
    match header.opcode {
        Opcode::Message => {
            let Some((flags, [kind, section @ ..])) = body.split_first_chunk() else {
                return false;
            };
            let fits = bson::int(section)
                .is_some_and(|section| (5..=length.saturating_sub(21)).contains(&section));
            u32::from_le_bytes(*flags) & !KNOWN_FLAGS == 0 && *kind <= 1 && fits
        }
        Opcode::Compressed => {
            let original = body.first_chunk().map(|code| u32::from_le_bytes(*code));
            let original = original.and_then(Opcode::of);
            let fits = bson::int(body.get(4..).unwrap_or_default()).is_some_and(|size| size > 4);
            let compressor = body.get(8).is_some_and(|&id| usize::from(id) < COMPRESSORS);
            original.is_some_and(|opcode| opcode != Opcode::Compressed) && fits && compressor
        }
        Opcode::Query => {
            let name = body.get(4..).unwrap_or_default();
            let end = name.iter().position(|byte| !byte.is_ascii_graphic());
            let name = end.and_then(|end| name.get(..end)).unwrap_or(name);
            header.answers == 0 && name.contains(&b'.')
        }
        Opcode::Reply => {
            let flags = body.first_chunk().map(|flags| u32::from_le_bytes(*flags));
            header.answers != 0 && flags.is_some_and(|flags| flags < 16)
        }
        _ => false,
    }
}
