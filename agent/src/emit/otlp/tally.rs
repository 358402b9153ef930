//! What became of exchanges that were to be exported.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

/// What may become of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The collector has taken it.
    Exported,
    /// The collector has taken others of the same request, and not this one.
    Rejected,
    /// The collector refused it, or could not be reached for too long.
    Failed,
    /// There was no room for it, or no time at the end.
    Dropped,
    /// Somebody decided that its trace is not recorded.
    Unsampled,
}

impl Fate {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Self; 5] =
        [Self::Exported, Self::Rejected, Self::Failed, Self::Dropped, Self::Unsampled];

    /// The fixed word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exported => "exported",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
            Self::Unsampled => "unsampled",
        }
    }
}

/// Counts them.
#[derive(Debug, Default)]
pub struct Tally([AtomicU64; Fate::ALL.len()]);

impl Tally {
    /// So many more.
    pub(super) fn count(&self, fate: Fate, spans: u64) {
        if let Some(count) = self.0.get(fate as usize) {
            count.fetch_add(spans, Ordering::Relaxed);
        }
    }

    /// How many so far.
    pub fn of(&self, fate: Fate) -> u64 {
        self.0.get(fate as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

/// For the last line: `12 spans exported, 3 dropped`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exported = self.of(Fate::Exported);
        write!(f, "{exported} span{} exported", if exported == 1 { "" } else { "s" })?;
        for fate in Fate::ALL.into_iter().filter(|fate| *fate != Fate::Exported) {
            match self.of(fate) {
                0 => {}
                count => write!(f, ", {count} {}", fate.as_str())?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_is_is_told() {
        let tally = Tally::default();
        assert_eq!(tally.to_string(), "0 spans exported");
        tally.count(Fate::Exported, 1);
        tally.count(Fate::Dropped, 20);
        tally.count(Fate::Unsampled, 3);
        assert_eq!(tally.to_string(), "1 span exported, 20 dropped, 3 unsampled");
        assert_eq!(tally.of(Fate::Dropped), 20);
    }
}
