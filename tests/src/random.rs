//! Random numbers for tests, the same on every run.

/// Xorshift; the seed may not be 0.
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub const fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below the limit, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.number() >> 33).unwrap_or_default() % limit
    }

    /// Any bytes.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for eight in bytes.chunks_mut(8) {
            let random = self.number().to_le_bytes();
            eight.iter_mut().zip(random).for_each(|(byte, random)| *byte = random);
        }
    }
}
