//! What the kernel half could not deliver, by reason.

use std::{fmt, sync::Arc};

use aya::maps::{MapData, MapError, PerCpuArray};
use thiserror::Error;
use tlstap_ebpf::loss;

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

    /// Whether any record found no room.
    pub(super) fn any_record(&self) -> bool {
        let count = self.0.get(&u32::from(loss::RING_FULL), 0);
        // What cannot be read may be anything.
        count.map_or(true, |count| count.iter().any(|&count| count > 0))
    }
}

/// Losses counted so far, by reason. Chunks and calls, not bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        const WORDS: [(u8, &str); 6] = [
            (loss::RING_FULL, "ring-full"),
            (loss::FAULT, "fault"),
            (loss::LIMIT, "limit"),
            (loss::IN_FLIGHT_FULL, "in-flight-full"),
            (loss::CONNECTIONS_FULL, "connections-full"),
            (loss::KERNEL_TLS, "kernel-tls"),
        ];
        WORDS
            .into_iter()
            .map(|(code, word)| (word, self.counts.get(usize::from(code)).copied().unwrap_or(0)))
            .chain([("queue-full", self.queue_full)])
            .filter(|(_, count)| *count > 0)
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
