//! From the kernel's clock to the world's.

use rustix::time::{ClockId, clock_gettime};

/// The distance between `CLOCK_MONOTONIC`, which the kernel half stamps with, and
/// `CLOCK_REALTIME`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    offset: i64,
}

impl Clock {
    /// Measures the distance now. A later step of the clock is not followed, so that the order
    /// of events in the output is theirs.
    pub(crate) fn now() -> Self {
        Self { offset: nanoseconds(ClockId::Realtime) - nanoseconds(ClockId::Monotonic) }
    }

    /// The distance, as it was measured elsewhere: realtime minus monotonic, nanoseconds.
    pub(crate) const fn at_offset(offset: i64) -> Self {
        Self { offset }
    }

    /// Realtime minus monotonic, nanoseconds.
    pub(crate) const fn offset(self) -> i64 {
        self.offset
    }

    /// Nanoseconds since the epoch for a stamp of the kernel half.
    pub(crate) fn timestamp_ns(self, stamp: u64) -> i64 {
        self.offset.saturating_add_unsigned(stamp)
    }
}

fn nanoseconds(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
