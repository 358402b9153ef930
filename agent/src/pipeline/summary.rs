//! What a trace or a replay gave.

use std::{fmt, sync::atomic::Ordering};

use anyhow::{Error, Result};

use super::stream::Counts;
use crate::capture::Losses;

/// What came through, for the last line.
#[derive(Debug)]
pub struct Summary {
    records: u64,
    bytes: u64,
    /// Absent when it is not known.
    losses: Option<Losses>,
    flaw: Option<Error>,
}

impl Summary {
    pub(super) fn new(counts: &Counts, losses: Option<Losses>, flaw: Option<Error>) -> Self {
        Self {
            records: counts.records.load(Ordering::Relaxed),
            bytes: counts.bytes.load(Ordering::Relaxed),
            losses,
            flaw,
        }
    }

    /// What went wrong, though there is something to sum up.
    pub fn result(self) -> Result<()> {
        self.flaw.map_or(Ok(()), Err)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.records == 1 { "" } else { "s" };
        write!(f, "{} event{plural}, {} plaintext bytes, ", self.records, self.bytes)?;
        match &self.losses {
            Some(losses) => losses.fmt(f),
            None => f.write_str("losses unknown"),
        }
    }
}
