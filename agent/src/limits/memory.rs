//! What each part of the agent may keep, such that all fit below a ceiling.

use thiserror::Error;

/// Bytes that wait between the ring reader and the decoders.
const QUEUE: usize = 64 << 20;
/// Bytes of unfinished messages that decoders keep.
const DECODERS: usize = 128 << 20;
/// What is resident whatever happens: the program, what it knows of files and processes, stacks.
const BASE: u64 = 48 << 20;
/// What is left for all that is kept of traffic must be so much at least.
const LEAST: u64 = 16 << 20;

/// Room for what is kept of traffic, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// For plaintext that waits for the decoders, of all of them.
    pub queue: usize,
    /// For unfinished messages, of each decoder.
    pub decoders: usize,
}

/// Why a ceiling cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "--max-memory is too small: with a ring buffer of {} MiB at least {} MiB are needed; \
     allow more, or give a smaller --ring-size", ring >> 20, least.div_ceil(1 << 20)
)]
pub struct TooSmall {
    ring: u64,
    least: u64,
}

impl Memory {
    /// Without a ceiling.
    pub const UNBOUND: Self = Self { queue: QUEUE, decoders: DECODERS };

    /// Below a ceiling, if there is one, beside a ring buffer of so many bytes, for so many decoders.
    pub fn below(ceiling: Option<u64>, ring: u32, decoders: usize) -> Result<Self, TooSmall> {
        let Some(ceiling) = ceiling else {
            return Ok(Self::UNBOUND);
        };
        let ring = u64::from(ring);
        // A ring is mapped twice, one behind the other, and counts so.
        let fixed = BASE + 2 * ring;
        let least = fixed + LEAST;
        let left = ceiling.checked_sub(fixed).filter(|left| *left >= LEAST);
        let left = left.ok_or(TooSmall { ring, least })?;
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        // The queue keeps as much again for what is no plaintext. A half is for what is not counted:
        // records that wait for names, and what the allocator keeps.
        Ok(Self {
            queue: (left / 8).min(QUEUE),
            decoders: (left / 4 / decoders.max(1)).min(DECODERS),
        })
    }
}
