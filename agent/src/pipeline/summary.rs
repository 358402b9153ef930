//! What a trace or a replay gave.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use anyhow::{Error, Result};

use super::stream::Counts;
use crate::{capture::Losses, emit::otlp::Tally, limits::Reached};

/// What came through, for the last line.
#[derive(Debug)]
pub struct Summary {
    records: u64,
    bytes: u64,
    /// Absent when it is not known.
    losses: Option<Losses>,
    /// Absent when nothing was to be exported.
    exported: Option<Arc<Tally>>,
    /// What limits the trace has come to.
    limited: String,
    flaw: Option<Error>,
}

impl Summary {
    pub(super) fn new(
        counts: &Counts,
        losses: Option<Losses>,
        exported: Option<Arc<Tally>>,
        flaw: Option<Error>,
    ) -> Self {
        Self {
            records: counts.records.load(Ordering::Relaxed),
            bytes: counts.plaintext().iter().sum(),
            losses,
            exported,
            limited: String::new(),
            flaw,
        }
    }

    /// With the limits that the trace has come to.
    pub(super) fn limited(self, reached: &Reached) -> Self {
        Self { limited: reached.to_string(), ..self }
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
        if let Some(exported) = &self.exported {
            write!(f, "{exported}, ")?;
        }
        match &self.losses {
            Some(losses) => losses.fmt(f)?,
            None => f.write_str("losses unknown")?,
        }
        f.write_str(&self.limited)
    }
}
