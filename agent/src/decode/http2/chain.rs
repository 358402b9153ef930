//! Bytes in, out whether frames of HTTP/2 follow each other from the first on. Several things must
//! agree before that is believed: lengths, types, flags, streams, and where the bytes end.

use super::{
    frames::{CONTINUATION, DATA, HEAD, HEADERS, Head, PREFACE, PUSH_PROMISE},
    hpack::Lead,
};

/// Points that make it sure.
const SURE: u32 = 3;
/// RFC 9113, section 6.5.2: frames are no larger, unless the peer allows it.
const MAX_FRAME: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    No,
    Maybe,
    Sure,
}

pub(crate) fn look(bytes: &[u8]) -> Verdict {
    if bytes.starts_with(PREFACE) {
        return Verdict::Sure;
    }
    if PREFACE.starts_with(bytes) {
        return Verdict::Maybe;
    }
    let (mut rest, mut points) = (bytes, 0);
    loop {
        let Some(head) = Head::of(rest) else {
            // The first bytes of a frame's length are zero.
            return if rest.first().is_some_and(|first| *first > 0x10) {
                Verdict::No
            } else {
                Verdict::Maybe
            };
        };
        let payload = rest.get(HEAD..).unwrap_or_default();
        let reserved = rest.get(5).is_some_and(|byte| *byte >= 0x80);
        match weigh(&head, payload) {
            Some(more) if !reserved => points += more,
            _ => return Verdict::No,
        }
        let Some(next) = payload.get(head.length..) else { return Verdict::Maybe };
        rest = next;
        if points + u32::from(rest.is_empty()) >= SURE {
            return Verdict::Sure;
        }
        if rest.is_empty() {
            return Verdict::Maybe;
        }
    }
}

/// How much a frame speaks for it; `None` when it is none of section 6.
fn weigh(head: &Head, payload: &[u8]) -> Option<u32> {
    let Head { length, kind, flags, stream } = *head;
    let (flags_allowed, lengths, on_stream, points) = match kind {
        DATA => (0x9, 0..=MAX_FRAME, Some(true), 1),
        HEADERS => (0x2d, 1..=MAX_FRAME, Some(true), 2),
        2 => (0, 5..=5, Some(true), 2),
        3 => (0, 4..=4, Some(true), 2),
        4 => (0x1, 0..=60, Some(false), 2),
        PUSH_PROMISE => (0xc, 5..=MAX_FRAME, Some(true), 1),
        6 => (0x1, 8..=8, Some(false), 2),
        7 => (0, 8..=1 << 14, Some(false), 2),
        8 => (0, 4..=4, None, 2),
        CONTINUATION => return None,
        _ => return None,
    };
    let fits = flags & !flags_allowed == 0
        && lengths.contains(&length)
        && on_stream.is_none_or(|on_stream| on_stream == (stream != 0))
        && (stream == 0 || stream % 2 == 1)
        && (kind != 4 || length % 6 == 0 && (flags == 0 || length == 0));
    let lead =
        (kind == HEADERS && flags & 0x28 == 0).then(|| payload.first().copied().map(Lead::of));
    match lead.flatten() {
        Some(Lead::Malformed) => None,
        Some(Lead::Other) => fits.then_some(1),
        _ => fits.then_some(points),
    }
}
