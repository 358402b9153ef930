//! How much the kernel half copies, told to it while it runs.

use aya::maps::{Array, MapData, MapError};
use tlstap_ebpf::level;

use crate::limits::Level;

/// The kernel half's one word for it.
pub struct Copying(Array<MapData, u64>);

impl Copying {
    pub(super) const fn new(level: Array<MapData, u64>) -> Self {
        Self(level)
    }

    /// From the next call on that returns.
    pub fn set(&mut self, level: Level) -> Result<(), MapError> {
        let code = match level {
            Level::Full => level::FULL,
            Level::Headers => level::HEADERS,
            Level::Sampled => level::SAMPLED,
            Level::Detached => level::NONE,
        };
        self.0.set(0, code, 0)
    }
}
