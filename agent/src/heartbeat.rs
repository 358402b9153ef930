//! The pulse of a thread: whether it gets on with its work.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// A thread beats it before each thing that it does, and lets it rest while it waits for work.
#[derive(Debug)]
pub struct Heartbeat {
    begun: Instant,
    /// When it began the thing that it does now: milliseconds after `begun`, 1 at least; 0 while it
    /// rests.
    beat: AtomicU64,
}

impl Default for Heartbeat {
    /// One that rests.
    fn default() -> Self {
        Self { begun: Instant::now(), beat: AtomicU64::new(0) }
    }
}

impl Heartbeat {
    /// The thread begins its next thing.
    pub fn beat(&self) {
        self.beat_at(Instant::now());
    }

    fn beat_at(&self, now: Instant) {
        self.beat.store(self.milliseconds(now).max(1), Ordering::Relaxed);
    }

    /// The thread waits for work.
    pub fn rest(&self) {
        self.beat.store(0, Ordering::Relaxed);
    }

    /// For how long the thread has been at the same thing; 0 while it waits.
    pub fn age(&self, now: Instant) -> Duration {
        match self.beat.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            beat => Duration::from_millis(self.milliseconds(now).saturating_sub(beat)),
        }
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_while_it_neither_beats_nor_rests() {
        let heart = Heartbeat::default();
        let second = |number| heart.begun + Duration::from_secs(number);
        assert_eq!(heart.age(second(5)), Duration::ZERO, "nothing to do yet");
        heart.beat_at(second(5));
        assert_eq!(heart.age(second(5)), Duration::ZERO);
        assert_eq!(heart.age(second(7)), Duration::from_secs(2));
        heart.beat_at(second(8));
        assert_eq!(heart.age(second(9)), Duration::from_secs(1));
        heart.rest();
        assert_eq!(heart.age(second(99)), Duration::ZERO);
    }
}
