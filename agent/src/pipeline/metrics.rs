//! What the stages tell of themselves, gathered when somebody asks for metrics.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time;

use super::{hooking::Asked, stream::Counts};
use crate::{
    capture::{Counters, Losses, Meter},
    emit::otlp::{Fate, Meter as Export},
    limits::{Level, Reached},
    metrics::{Exported, Libraries, Look, Ring, State},
};

/// How long the hooking thread may take to answer; then what it said the last time is told.
const PATIENCE: Duration = Duration::from_millis(500);

/// Where the numbers come from.
pub(super) struct Sources {
    pub(super) counts: Arc<Counts>,
    pub(super) losses: Counters,
    pub(super) meter: Arc<Meter>,
    pub(super) ring_bytes: u32,
    /// Bytes in each of the queues.
    pub(super) queues: Vec<Arc<AtomicUsize>>,
    pub(super) hooks: Asked,
    /// Absent when nothing is exported.
    pub(super) export: Option<Export>,
    /// Of the limits.
    pub(super) reached: Arc<Reached>,
}

impl Sources {
    /// Asks all of them, each time.
    pub(super) fn look(self) -> Look {
        let (sources, last) = (Arc::new(self), Arc::new(Mutex::new(None)));
        Box::new(move || {
            let (sources, last) = (Arc::clone(&sources), Arc::clone(&last));
            Box::pin(async move { sources.state(&last).await })
        })
    }

    async fn state(&self, last: &Mutex<Option<Libraries>>) -> State {
        let answer = time::timeout(PATIENCE, self.hooks.libraries()).await.ok().flatten();
        let libraries = {
            let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = answer.or(last.take());
            last.clone()
        };
        let mut losses = Losses::read(&self.losses).unwrap_or_default();
        losses.queue_full = self.meter.dropped();
        let queued = self.queues.iter().map(|held| held.load(Ordering::Relaxed) as u64);
        State {
            plaintext: self.counts.plaintext(),
            losses: losses.by_stage().collect(),
            decode_errors: [
                ("malformed", self.counts.malformed.load(Ordering::Relaxed)),
                ("record", self.meter.unreadable()),
            ],
            ring: self.ring(),
            levels: self.reached.counts().collect(),
            level: Level::ALL.into_iter().find(|level| self.reached.is_at(*level)),
            queued: queued.sum(),
            libraries,
            exported: self.export.as_ref().map(exported),
        }
    }

    fn ring(&self) -> Ring {
        let size = u64::from(self.ring_bytes);
        // The two positions are not read at one moment.
        let [unread, peak] =
            [self.meter.unread(), self.meter.peak()].map(|bytes| (bytes as u64).min(size));
        Ring { size, unread, peak }
    }
}

fn exported(export: &Export) -> Exported {
    let (tally, (waiting, bytes)) = (export.tally(), export.waiting());
    let spans = Fate::ALL.map(|fate| (fate.as_str(), tally.of(fate)));
    Exported { spans, waiting: waiting as u64, bytes: bytes as u64 }
}
