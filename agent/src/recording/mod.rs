//! A trace in a file: every chunk as it came out of the ring, and the names that went with it, so
//! that it can be decoded again without the kernel, without root, and without the processes.
//!
//! docs/recording.md is the format; [`Entry`] is what it holds.

mod reader;
mod recorder;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(crate) use self::{
    reader::{Reader, Stop},
    recorder::Recorder,
};
use crate::{capture::Chunk, capture::Losses, enrich::Note, select::Filters};

/// Changes whenever recordings that exist would no longer be read, or read otherwise.
pub(crate) const VERSION: u32 = 1;

/// What the first line begins with; the version follows, and who wrote it.
const MAGIC: &str = "tlstap recording ";

/// The longest entry, in bytes. A chunk's payload is a sixtieth of it.
const MAX_ENTRY: usize = 1 << 20;

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Entry {
    /// Comes first.
    Start(Asked),
    /// A chunk, in the order of the ring.
    Chunk(Chunk),
    /// A name.
    Note(Note),
    /// Comes last, when the trace was not killed: what was lost.
    End(Losses),
}

/// What the trace was asked for that a replay cannot see in the chunks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// Which processes.
    pub(crate) filters: Filters,
    /// The plaintext as it is, instead of decoded messages.
    pub(crate) raw: bool,
    /// Stop after this many records.
    pub(crate) count: Option<u64>,
}
