//! Code that may refer to an address: bytes that would, if they were a part of an instruction. That they
//! are is for others to say, who decode the function around them.

use crate::resolve::{elf::Elf, source::Source};

use super::scan;

/// Bytes of a displacement, and of an address in code that is not moved.
const WIDTH: usize = 4;

/// Bytes that are looked at together.
const BLOCK: usize = 64 * WIDTH;

/// Places that are kept: no more are looked for then.
const MOST: usize = 1 << 12;

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
pub(super) fn to(elf: &Elf<'_>, file: &Source, targets: &[u64]) -> Vec<Reference> {
    let Some(wanted) = Wanted::of(targets) else { return Vec::new() };
    let mut found: Vec<Reference> = Vec::new();
    let segments = elf.segments().filter(|segment| segment.executable);
    scan::pieces(file, segments, BEFORE + WIDTH - 1, |address, piece| {
        for first in 0..WIDTH {
            let words = piece.get(BEFORE + first..).unwrap_or_default();
            for (number, block) in words.chunks(BLOCK).enumerate() {
                let at = first + number * BLOCK;
                let place = address.wrapping_add((BEFORE + at) as u64);
                if found.len() < MOST && wanted.maybe_in(place, block) {
                    let opcodes = piece.get(at..).unwrap_or_default();
                    found.extend(wanted.in_block(place, block, opcodes));
                }
            }
        }
    });
    found
}

/// The addresses that are looked for.
struct Wanted<'t> {
    targets: &'t [u64],
    first: u64,
    /// From the first to the last, 32 bits of it.
    span: u32,
}

impl<'t> Wanted<'t> {
    fn of(targets: &'t [u64]) -> Option<Self> {
        let (&first, &last) = (targets.first()?, targets.last()?);
        let span = u32::try_from(last.wrapping_sub(first)).unwrap_or(u32::MAX);
        Some(Self { targets, first, span })
    }

    /// Whether words could lead there, by the low halves of addresses: nearly always not. The compiler makes
    /// this a loop over several words at a time.
    #[expect(clippy::cast_possible_truncation, reason = "low halves")]
    fn maybe_in(&self, place: u64, block: &[u8]) -> bool {
        let (low, mut behind) = (self.first as u32, (place as u32).wrapping_add(WIDTH as u32));
        let mut any = false;
        for word in block.as_chunks::<WIDTH>().0 {
            let bits = u32::from_le_bytes(*word);
            any |= bits.wrapping_add(behind).wrapping_sub(low) <= self.span;
            any |= bits.wrapping_sub(low) <= self.span;
            behind = behind.wrapping_add(WIDTH as u32);
        }
        any
    }

    /// Those that do. `opcodes` are the bytes from the one before the block on.
    fn in_block(
        &self,
        place: u64,
        block: &[u8],
        opcodes: &[u8],
    ) -> impl Iterator<Item = Reference> {
        let words = block.as_chunks::<WIDTH>().0.iter().zip(opcodes.iter().step_by(WIDTH));
        words.enumerate().flat_map(move |(number, (word, &opcode))| {
            let bits = u32::from_le_bytes(*word);
            let place = place.wrapping_add((number * WIDTH) as u64);
            let behind = place.wrapping_add(WIDTH as u64);
            let relative = behind.wrapping_add_signed(i64::from(bits.cast_signed()));
            [relative, u64::from(bits)]
                .into_iter()
                .filter(|target| self.targets.binary_search(target).is_ok())
                .map(move |target| Reference { place, target, opcode })
        })
    }
}
