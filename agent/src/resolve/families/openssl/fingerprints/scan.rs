//! The bytes of a file, read in pieces, so that a large one costs time and not memory.

use crate::resolve::{elf::Segment, source::Source};

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Most bytes of a file that are looked through for one thing, so that 100 ms hold (`tests/limits.rs`).
const MOST: u64 = 112 << 20;

/// Calls `look` with each piece of the segments and the address of its first byte. A piece begins with
/// the last `overlap` bytes of the one before.
pub(super) fn pieces(
    file: &Source,
    segments: impl Iterator<Item = Segment>,
    overlap: usize,
    mut look: impl FnMut(u64, &[u8]),
) {
    let mut left = MOST;
    let mut buffer = vec![0; PIECE];
    for segment in segments {
        let in_file = file.len().saturating_sub(segment.offset).min(segment.len);
        let (mut at, end) = (0, in_file.min(left));
        left -= end;
        while at < end {
            let room = usize::try_from(end - at).map_or(PIECE, |rest| rest.min(PIECE));
            let Some(piece) = buffer.get_mut(..room) else { return };
            if file.fill(piece, segment.offset.saturating_add(at)).is_err() {
                return;
            }
            look(segment.address.wrapping_add(at), piece);
            // The end has come.
            let Some(step) = room.checked_sub(overlap).filter(|&step| step > 0) else { break };
            at += step as u64;
        }
    }
}
