//! At which level the agent is, and how often it has reached each: for whoever asks.

use std::{
    fmt,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
};

use super::Level;

/// Counted where steps are carried out, read at any time.
#[derive(Debug, Default)]
pub struct Reached {
    /// The place of the level in [`Level::ALL`].
    level: AtomicUsize,
    /// In the order of [`Level::ALL`].
    counts: [AtomicU64; Level::ALL.len()],
}

impl Reached {
    /// A level is reached.
    pub fn reach(&self, level: Level) {
        self.level.store(level as usize, Ordering::Relaxed);
        if let Some(count) = self.counts.get(level as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Whether this is the level now.
    pub fn is_at(&self, level: Level) -> bool {
        self.level.load(Ordering::Relaxed) == level as usize
    }

    /// How often each level was reached by a step.
    pub fn counts(&self) -> impl Iterator<Item = (Level, u64)> {
        Level::ALL.into_iter().zip(self.counts.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

impl fmt::Display for Reached {
    /// Nothing, or `, limited: 2 headers, 1 sampled` behind the sum of a trace.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limited = self.counts().filter(|(level, count)| *level > Level::Full && *count > 0);
        let words: Vec<_> =
            limited.map(|(level, count)| format!("{count} {}", level.as_str())).collect();
        if words.is_empty() { Ok(()) } else { write!(f, ", limited: {}", words.join(", ")) }
    }
}
