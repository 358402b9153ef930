//! Fragments of a header block in, the whole block out (RFC 9113, section 4.3).

use super::frames::{CONTINUATION, END_STREAM, HEADERS, Head, PADDED, PRIORITY, PUSH_PROMISE};
use crate::capture::Call;

/// A longer header block is passed over.
pub(super) const BLOCK_LIMIT: usize = 256 << 10;

/// A header block, as far as it came.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) began: Call,
    pub(super) stream: u32,
    /// The stream that a PUSH_PROMISE announces.
    pub(super) promised: Option<u32>,
    pub(super) end: bool,
    /// `None` when it was too long to be kept.
    pub(super) bytes: Option<Vec<u8>>,
}

impl Block {
    /// The block that a frame begins.
    pub(super) const fn begin(head: Head, began: Call, promised: Option<u32>) -> Self {
        let end = head.kind == HEADERS && head.flags & END_STREAM != 0;
        Self { began, stream: head.stream, promised, end, bytes: Some(Vec::new()) }
    }

    /// The next fragment of it, and whether all of that is there.
    pub(super) fn extend(&mut self, fragment: &[u8], whole: bool) {
        match &mut self.bytes {
            Some(bytes) if whole && bytes.len() + fragment.len() <= BLOCK_LIMIT => {
                bytes.extend_from_slice(fragment);
            }
            bytes => *bytes = None,
        }
    }
}

/// The part of a header block in a frame, without padding, priority and promised stream.
pub(super) fn fragment(head: Head, payload: &[u8], whole: bool) -> Option<(&[u8], Option<u32>)> {
    let mut rest = payload;
    if head.kind != CONTINUATION && head.flags & PADDED != 0 {
        let (pad, padded) = rest.split_first()?;
        let pad = if whole { usize::from(*pad) } else { 0 };
        rest = padded.get(..padded.len().checked_sub(pad)?)?;
    }
    if head.kind == HEADERS && head.flags & PRIORITY != 0 {
        rest = rest.get(5..)?;
    }
    if head.kind != PUSH_PROMISE {
        return Some((rest, None));
    }
    let (promised, rest) = rest.split_first_chunk::<4>()?;
    Some((rest, Some(u32::from_be_bytes(*promised) & 0x7fff_ffff)))
}
