//! How long to wait before a request is sent again, and when to give it up.

use std::time::Duration;

/// The first pause; each one is twice as long.
const FIRST: Duration = Duration::from_millis(500);
/// The longest, also if the collector asks for more.
const LONGEST: Duration = Duration::from_secs(30);
/// All pauses of a request together.
const ALL: Duration = Duration::from_secs(60);

/// The pauses of one request.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    waited: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST, waited: Duration::ZERO }
    }
}

impl Backoff {
    /// The next pause; `None` when the request is to be given up. `asked` is what the collector wants; `chance`,
    /// any number, makes agents that fail together come back one by one.
    pub(super) fn pause(&mut self, asked: Option<Duration>, chance: u64) -> Option<Duration> {
        let share = u32::try_from(chance % 50).unwrap_or_default();
        let own = self.next * (75 + share) / 100;
        self.next = (self.next * 2).min(LONGEST);
        let pause = asked.map_or(own, |asked| asked.max(FIRST)).min(LONGEST);
        self.waited += pause;
        (self.waited <= ALL).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        for chance in 0..100 {
            let mut backoff = Backoff::default();
            let pauses: Vec<_> =
                std::iter::from_fn(|| backoff.pause(None, chance)).take(100).collect();
            assert!((5..=8).contains(&pauses.len()), "{pauses:?}");
            assert!(pauses.is_sorted() && pauses[0] >= FIRST * 3 / 4 && pauses[0] < FIRST * 5 / 4);
            assert!(pauses.iter().sum::<Duration>() <= ALL);
        }
    }

    #[test]
    fn the_collector_is_heard_within_bounds() {
        let pause = |asked| Backoff::default().pause(Some(Duration::from_secs(asked)), 0).unwrap();
        assert_eq!(pause(7), Duration::from_secs(7));
        assert_eq!(pause(1_000_000), LONGEST);
        assert_eq!(pause(0), FIRST);
        let mut backoff = Backoff::default();
        let often = (0..100).filter(|_| backoff.pause(Some(LONGEST), 0).is_some()).count();
        assert_eq!(often, 2);
    }
}
