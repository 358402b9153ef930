//! Code that may refer to an address: bytes that would, if they were a part of an instruction. That they
//! are is for others to say, who decode the function around them.

use std::fs::File;

use crate::resolve::elf::Elf;

use super::scan;

/// Bytes of a displacement, and of an address in code that is not moved.
const WIDTH: usize = 4;

/// Most places that are kept.
const MOST: usize = 1 << 16;

/// Bytes in front of a place that say which instruction it would belong to.
const BEFORE: usize = 1;

/// A place in code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    /// The address of the displacement.
    pub(super) place: u64,
    /// What it would refer to.
    pub(super) target: u64,
    /// The byte before it.
    pub(super) opcode: u8,
}

impl Reference {
    /// Whether it would be a call, or a jump as at the end of a function (`call rel32`, `jmp rel32`).
    pub(super) fn is_call(&self) -> bool {
        matches!(self.opcode, 0xe8 | 0xe9)
    }
}

/// The places that may refer to one of the addresses, which are in order.
pub(super) fn to(elf: &Elf<'_>, file: &File, targets: &[u64]) -> Vec<Reference> {
    let (Some(&first), Some(&last)) = (targets.first(), targets.last()) else { return Vec::new() };
    let span = last - first;
    let mut found: Vec<Reference> = Vec::new();
    let segments = elf.segments().filter(|segment| segment.executable);
    scan::pieces(file, segments, WIDTH + BEFORE - 1, |address, piece| {
        let windows = piece.windows(BEFORE + WIDTH).enumerate();
        for (at, window) in windows {
            let &[opcode, a, b, c, d] = window else { continue };
            let bits = u32::from_le_bytes([a, b, c, d]);
            let place = address.wrapping_add((at + BEFORE) as u64);
            let relative =
                place.wrapping_add(WIDTH as u64).wrapping_add_signed(i64::from(bits.cast_signed()));
            for target in [relative, u64::from(bits)] {
                // Nearly always no, so that this is all that is done.
                if target.wrapping_sub(first) <= span
                    && targets.binary_search(&target).is_ok()
                    && found.len() < MOST
                {
                    found.push(Reference { place, target, opcode });
                }
            }
        }
    });
    found
}
