//! Shares of a buffer that many write into and one reader empties: whoever writes much leaves room for
//! the others.
//!
//! While a quarter of the buffer is free, nobody is counted. Then a writer may have no more in it than a quarter
//! of what is free: a few that write all the time leave most of it, and many of them still leave
//! something (the dynamic threshold of Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2),
//! 1998). With one half, those who come first would leave nothing to those who come later.

/// Which part of what is free a writer may have.
const PART: u64 = 4;

/// How full a buffer is. Positions are the bytes that were ever written and read.
#[derive(Clone, Copy, Debug)]
pub struct Fill {
    /// Bytes that it holds.
    pub capacity: u64,
    /// Position that is written next.
    pub written: u64,
    /// Position that is read next.
    pub read: u64,
}

impl Fill {
    const fn free(self) -> u64 {
        self.capacity.saturating_sub(self.written.wrapping_sub(self.read))
    }
}

/// Whether shares count in a buffer of `capacity` bytes of which so many are not read yet.
#[inline(always)]
pub const fn is_crowded(unread: u64, capacity: u64) -> bool {
    unread > capacity / 4 * 3
}

/// What one writer has in a crowded buffer.
///
/// Its bytes are counted from a position on; when that is read, they become those of before, which count
/// until the next such position is read. So it never has more than is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Share {
    /// The position from which on its bytes are counted.
    since: u64,
    /// How many those are.
    bytes: u64,
    /// How many were counted before.
    before: u64,
    /// The position behind which it has nothing.
    until: u64,
}

impl Share {
    /// Of a writer of which nothing is counted yet.
    #[inline(always)]
    pub const fn new(fill: Fill) -> Self {
        Self { since: fill.written, bytes: 0, before: 0, until: fill.written }
    }

    /// Whether something that is counted may be unread.
    #[inline(always)]
    pub const fn counts(self, fill: Fill) -> bool {
        self.until >= fill.read
    }

    /// How many of so many bytes it may write now; they count as written.
    #[inline(always)]
    pub const fn take(&mut self, fill: Fill, wanted: u64) -> u64 {
        let room = self.room(fill);
        let taken = if wanted < room { wanted } else { room };
        self.add(fill, taken);
        taken
    }

    /// Whether it may write all of so many bytes now; then they count as written.
    pub const fn take_all(&mut self, fill: Fill, wanted: u64) -> bool {
        let takes = wanted <= self.room(fill);
        self.add(fill, if takes { wanted } else { 0 });
        takes
    }

    #[inline(always)]
    const fn room(&mut self, fill: Fill) -> u64 {
        if !self.counts(fill) {
            *self = Self::new(fill);
        } else if self.since < fill.read {
            *self = Self { since: fill.written, bytes: 0, before: self.bytes, ..*self };
        }
        let held = self.bytes.saturating_add(self.before);
        // What it takes is not free any more.
        fill.free().saturating_sub(held.saturating_mul(PART)) / (PART + 1)
    }

    #[inline(always)]
    const fn add(&mut self, fill: Fill, taken: u64) {
        self.bytes += taken;
        self.until = fill.written + taken;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{vec, vec::Vec};

    use super::*;

    const CAPACITY: u64 = 1 << 20;

    /// A buffer, and what each writer was refused.
    struct Buffer {
        fill: Fill,
        shares: Vec<Share>,
        refused: Vec<u64>,
    }

    impl Buffer {
        fn new(writers: usize) -> Self {
            let fill = Fill { capacity: CAPACITY, written: 0, read: 0 };
            Self { fill, shares: vec![Share::default(); writers], refused: vec![0; writers] }
        }

        fn write(&mut self, writer: usize, bytes: u64) {
            let Fill { capacity, written, read } = self.fill;
            let taken = if is_crowded(written - read, capacity) {
                self.shares[writer].take(self.fill, bytes)
            } else {
                bytes.min(capacity - (written - read))
            };
            assert!(taken <= capacity - (written - read), "more than there is room for");
            self.fill.written += taken;
            self.refused[writer] += bytes - taken;
        }

        fn read(&mut self, bytes: u64) {
            self.fill.read = self.fill.written.min(self.fill.read + bytes);
        }
    }

    #[test]
    fn one_that_says_little_is_never_refused() {
        for floods in [1, 3, 10, 26] {
            let mut buffer = Buffer::new(floods + 1);
            for round in 0..10_000 {
                (0..floods).for_each(|flood| buffer.write(flood, 16 << 10));
                // A sixteenth of what each would get if all got the same.
                buffer.write(floods, (6 << 10) / 16 / (floods as u64 + 1));
                // A reader that stands still for some time, and is too slow.
                if round % 50 >= 25 {
                    buffer.read(12 << 10);
                }
            }
            let (little, much) = buffer.refused.split_last().unwrap();
            assert_eq!(*little, 0, "beside {floods}");
            assert!(much.iter().all(|refused| *refused > 0));
        }
    }

    #[test]
    fn who_floods_alone_has_four_fifths() {
        let mut buffer = Buffer::new(1);
        for _ in 0..100 {
            buffer.write(0, 16 << 10);
        }
        let held = buffer.fill.written - buffer.fill.read;
        assert!(held >= CAPACITY / 100 * 79, "{held}");
    }

    #[test]
    fn what_was_read_makes_room() {
        let mut buffer = Buffer::new(1);
        for _ in 0..1_000 {
            buffer.write(0, 300 << 10);
            buffer.read(300 << 10);
        }
        assert_eq!(buffer.refused, [0]);
        buffer.write(0, 600 << 10);
        buffer.write(0, 600 << 10);
        assert!(buffer.refused[0] > 0);
        buffer.read(CAPACITY);
        let before = buffer.refused[0];
        buffer.write(0, 600 << 10);
        assert_eq!(buffer.refused[0], before);
    }

    #[test]
    fn positions_that_make_no_sense_do_no_harm() {
        let fill = Fill { capacity: 100, written: 5, read: 50 };
        assert_eq!(Share::default().take(fill, 10), 0);
    }
}
