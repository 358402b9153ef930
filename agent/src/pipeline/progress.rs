//! What a busy trace is doing, for a line on the terminal.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{self, MissedTickBehavior};

use super::stream::Counts;
use crate::{
    capture::{Counters, Losses},
    terminal::Status,
};

/// How often the line is written.
const TICK: Duration = Duration::from_millis(500);
const TICKS_A_SECOND: u64 = 2;
/// Records in a tick that make a trace busy.
const BUSY: u64 = 5;
/// Ticks without that until the line goes.
const PATIENCE: u32 = 4;

/// Where the numbers come from.
pub(super) struct Progress {
    pub(super) counts: Arc<Counts>,
    /// How many libraries are probed.
    pub(super) hooked: Arc<AtomicUsize>,
    pub(super) losses: Counters,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    rate: u64,
    hooked: usize,
    losses: Losses,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, hooked, losses } = self;
        let libraries = if *hooked == 1 { "library" } else { "libraries" };
        write!(f, "tlstap: {rate} events/s, {hooked} {libraries} hooked, {losses}")
    }
}

/// Whether there is something to say.
#[derive(Debug, Default)]
struct Pace {
    records: u64,
    losses: Losses,
    /// Ticks that the line stays.
    left: u32,
    /// Records of the tick before.
    last: u64,
}

impl Pace {
    /// Takes the sums so far. Gives the records a second, while it is busy.
    fn tick(&mut self, records: u64, losses: Losses) -> Option<u64> {
        let new = records.saturating_sub(self.records);
        let busy = new >= BUSY || losses != self.losses;
        self.left = if busy { PATIENCE } else { self.left.saturating_sub(1) };
        // Over a second, so that it does not jump.
        let rate = (new + self.last) * TICKS_A_SECOND / 2;
        *self = Self { records, losses, left: self.left, last: new };
        (self.left > 0).then_some(rate)
    }
}

impl Progress {
    /// Shows it for as long as it is awaited; where there is no terminal, nothing.
    pub(super) async fn run(self) {
        let Some(status) = Status::start() else { return std::future::pending().await };
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pace = Pace::default();
        loop {
            ticks.tick().await;
            let losses = Losses::read(&self.losses).unwrap_or_default();
            let hooked = self.hooked.load(Ordering::Relaxed);
            match pace.tick(self.counts.records.load(Ordering::Relaxed), losses) {
                Some(rate) => status.show(&Line { rate, hooked, losses }.to_string()),
                None => status.hide(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn lost(chunks: u64) -> Losses {
        Losses::from(BTreeMap::from([("queue-full".to_owned(), chunks)]))
    }

    #[test]
    fn a_busy_trace_has_a_line_for_a_while() {
        let mut pace = Pace::default();
        assert_eq!(pace.tick(4, Losses::default()), None);
        assert_eq!(pace.tick(10, Losses::default()), Some(10));
        assert_eq!(pace.tick(110, Losses::default()), Some(106));
        let still: Vec<_> = (0..5).map(|_| pace.tick(110, Losses::default())).collect();
        assert_eq!(still, [Some(100), Some(0), Some(0), None, None]);
        let lost = lost(1);
        assert_eq!(pace.tick(110, lost), Some(0));
    }

    #[test]
    fn a_line_tells_what_is_lost() {
        let line = Line { rate: 12, hooked: 1, losses: Losses::default() };
        assert_eq!(line.to_string(), "tlstap: 12 events/s, 1 library hooked, nothing lost");
        let losses = lost(3);
        let line = Line { rate: 12, hooked: 4, losses };
        assert_eq!(line.to_string(), "tlstap: 12 events/s, 4 libraries hooked, lost 3 queue-full");
    }
}
