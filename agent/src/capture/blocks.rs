//! Where payloads are copied to when they leave the ring: many share a block, and a block that
//! nobody holds a part of any more is filled again. In a steady state nothing is allocated, and no
//! page is touched for the first time.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Bytes of a block.
const BLOCK: usize = 256 << 10;
/// Blocks that are kept to be filled again: as much as the largest ring holds by default.
const KEPT: usize = 128;
/// How many blocks are looked at for one that is free. A decoder may hold a part of one for long.
const TRIES: usize = 4;

/// The blocks of one reader.
#[derive(Debug, Default)]
pub struct Blocks {
    current: BytesMut,
    /// Those that are full, the oldest first.
    full: VecDeque<BytesMut>,
}

impl Blocks {
    /// A copy of `bytes`, in a block that others are in too.
    pub fn copy(&mut self, bytes: &[u8]) -> Bytes {
        if self.current.capacity() < bytes.len() {
            self.next(bytes.len());
        }
        self.current.extend_from_slice(bytes);
        self.current.split().freeze()
    }

    /// Gives back what is not in use: nothing comes for some time.
    pub fn release(&mut self) {
        *self = Self::default();
    }

    /// Makes room for so many bytes.
    fn next(&mut self, len: usize) {
        let full = std::mem::replace(&mut self.current, BytesMut::new());
        self.full.push_back(full);
        self.current = self.free(len).unwrap_or_else(|| BytesMut::with_capacity(len.max(BLOCK)));
    }

    fn free(&mut self, len: usize) -> Option<BytesMut> {
        for _ in 0..TRIES.min(self.full.len()) {
            let mut oldest = self.full.pop_front()?;
            if oldest.try_reclaim(len.max(BLOCK)) {
                return Some(oldest);
            }
            if self.full.len() < KEPT {
                self.full.push_back(oldest);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: [u8; 1000] = [7; 1000];

    #[test]
    fn blocks_are_filled_again_when_nobody_holds_them() {
        let mut blocks = Blocks::default();
        let mut places = std::collections::HashSet::new();
        for _ in 0..10_000 {
            places.insert(blocks.copy(&PIECE).as_ptr());
        }
        assert!(places.len() <= 2 * BLOCK / PIECE.len(), "{} places", places.len());
    }

    #[test]
    fn what_is_held_stays_as_it_is() {
        let mut blocks = Blocks::default();
        let held: Vec<_> = (0..2_000_u32).map(|n| blocks.copy(&n.to_ne_bytes())).collect();
        let one = blocks.copy(&[1; 100]);
        for _ in 0..10_000 {
            blocks.copy(&PIECE);
        }
        assert!(held.iter().zip(0_u32..).all(|(bytes, n)| bytes[..] == n.to_ne_bytes()));
        assert_eq!(one[..], [1; 100]);
    }

    #[test]
    fn there_is_a_bound_on_what_is_kept() {
        let mut blocks = Blocks::default();
        let held: Vec<_> = (0..3 * KEPT).map(|_| blocks.copy(&vec![0; BLOCK])).collect();
        assert!(blocks.full.len() <= KEPT + 1);
        drop(held);
        blocks.release();
        assert!(blocks.full.is_empty());
    }

    #[test]
    fn more_than_a_block_has_one_of_its_own() {
        let mut blocks = Blocks::default();
        assert_eq!(blocks.copy(&vec![3; 2 * BLOCK]).len(), 2 * BLOCK);
        assert_eq!(blocks.copy(b"").len(), 0);
    }
}
