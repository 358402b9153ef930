//! What the kernel half could not deliver, by reason.

use std::{collections::BTreeMap, fmt, sync::Arc};

use aya::maps::{MapData, MapError, PerCpuArray};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tlstap_ebpf::loss;

/// The words for the kernel's counters.
const WORDS: [(u8, &str); 10] = [
    (loss::RING_FULL, "ring-full"),
    (loss::FAULT, "fault"),
    (loss::LIMIT, "limit"),
    (loss::IN_FLIGHT_FULL, "in-flight-full"),
    (loss::CONNECTIONS_FULL, "connections-full"),
    (loss::KERNEL_TLS, "kernel-tls"),
    (loss::REDUCED, "reduced"),
    (loss::SAMPLED, "sampled"),
    (loss::DETACHED, "detached"),
    (loss::RATE_LIMITED, "rate-limited"),
];
const QUEUE_FULL: &str = "queue-full";

/// Why the counters could not be read.
#[derive(Debug, Error)]
#[error("failed to read the loss counters")]
pub struct LossesError(#[from] MapError);

/// The counters of the kernel half.
#[derive(Clone)]
pub struct Counters(Arc<PerCpuArray<MapData, u64>>);

impl Counters {
    pub(crate) fn new(map: PerCpuArray<MapData, u64>) -> Self {
        Self(Arc::new(map))
    }

    /// Whether there was any call of which no record came, for want of room or of leave.
    pub(super) fn any_record(&self) -> bool {
        [loss::RING_FULL, loss::SAMPLED, loss::DETACHED].into_iter().any(|reason| {
            let count = self.0.get(&u32::from(reason), 0);
            // What cannot be read may be anything.
            count.map_or(true, |count| count.iter().any(|&count| count > 0))
        })
    }
}

/// Losses counted so far, by reason. Chunks and calls, not bytes. A recording holds them by word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "BTreeMap<String, u64>", from = "BTreeMap<String, u64>")]
pub struct Losses {
    counts: [u64; loss::COUNT],
    /// Chunks that the agent's own queue had no room for.
    pub queue_full: u64,
}

impl Losses {
    /// Reads the kernel's counters and sums them over the CPUs.
    pub fn read(Counters(counters): &Counters) -> Result<Self, LossesError> {
        let mut counts = [0; loss::COUNT];
        for (index, count) in (0..).zip(&mut counts) {
            *count = counters.get(&index, 0)?.iter().sum();
        }
        Ok(Self { counts, queue_full: 0 })
    }

    /// Whether nothing was lost.
    pub fn is_empty(&self) -> bool {
        self.reasons().next().is_none()
    }

    fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.by_stage().map(|(_, word, count)| (word, count)).filter(|(_, count)| *count > 0)
    }

    /// All counts, with the stage that lost and the reason.
    pub fn by_stage(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let count = |code: u8| self.counts.get(usize::from(code)).copied().unwrap_or(0);
        let kernel = WORDS.map(|(code, word)| ("kernel", word, count(code)));
        kernel.into_iter().chain([("queue", QUEUE_FULL, self.queue_full)])
    }
}

impl From<Losses> for BTreeMap<String, u64> {
    fn from(losses: Losses) -> Self {
        losses.reasons().map(|(word, count)| (word.to_owned(), count)).collect()
    }
}

impl From<BTreeMap<String, u64>> for Losses {
    /// Words that are not known are passed over.
    fn from(words: BTreeMap<String, u64>) -> Self {
        let count = |word| words.get(word).copied().unwrap_or(0);
        let mut losses = Self { queue_full: count(QUEUE_FULL), ..Self::default() };
        for (code, word) in WORDS {
            if let Some(slot) = losses.counts.get_mut(usize::from(code)) {
                *slot = count(word);
            }
        }
        losses
    }
}

impl fmt::Display for Losses {
    /// `nothing lost`, or `lost 3 ring-full, 1 fault`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing lost");
        }
        let words: Vec<_> = self.reasons().map(|(word, count)| format!("{count} {word}")).collect();
        write!(f, "lost {}", words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_word_and_back() {
        let mut losses = Losses { queue_full: 7, ..Losses::default() };
        losses.counts[usize::from(loss::FAULT)] = 3;
        let words = BTreeMap::from(losses);
        let shown: Vec<_> = words.iter().map(|(word, count)| (word.as_str(), *count)).collect();
        assert_eq!(shown, [("fault", 3), ("queue-full", 7)]);
        assert_eq!(Losses::from(words), losses);
        assert!(Losses::from(BTreeMap::from([("of tomorrow".to_owned(), 1)])).is_empty());
    }
}
