//! The bytes of a file, read in pieces, so that a large one costs time and not memory.

use std::{fs::File, os::unix::fs::FileExt as _};

use crate::resolve::elf::Segment;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Most bytes of a file that are looked through for one thing: 0.1 s.
const MOST: u64 = 512 << 20;

/// Calls `look` with each piece of the segments and the address of its first byte. A piece begins with
/// the last `overlap` bytes of the one before.
pub(super) fn pieces(
    file: &File,
    segments: impl Iterator<Item = Segment>,
    overlap: usize,
    mut look: impl FnMut(u64, &[u8]),
) {
    let mut left = MOST;
    let mut buffer = vec![0; PIECE];
    for segment in segments {
        let (mut at, end) = (0, segment.len.min(left));
        left -= end;
        while at < end {
            let room = usize::try_from(end - at).map_or(PIECE, |rest| rest.min(PIECE));
            let Some(piece) = buffer.get_mut(..room) else { return };
            let Ok(read) = file.read_at(piece, segment.offset.saturating_add(at)) else { return };
            look(segment.address.wrapping_add(at), piece.get(..read).unwrap_or_default());
            // A file that is shorter than it says, or has come to its end.
            let Some(step) = read.checked_sub(overlap).filter(|&step| step > 0) else { break };
            at += step as u64;
        }
    }
}
