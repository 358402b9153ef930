//! Files that were looked at and are not probed: each is looked at once, until it changes or nobody has
//! mapped it for some time.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::resolve::{FileKey, RealFile, Reason, Stamp};

/// How long after nobody maps it any more. What processes have mapped is looked through every minute.
const KEPT: Duration = Duration::from_secs(900);

/// Most that are kept: a container can map as many files as it likes.
pub(super) const MAX_REMEMBERED: usize = 65_536;

/// These files.
#[derive(Debug, Default)]
pub(super) struct Unprobed(HashMap<FileKey, Entry>);

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    /// Why not, if it contains TLS code all the same.
    reason: Option<Reason>,
    /// When it was met last.
    met: Instant,
}

impl Unprobed {
    /// Why a file that is met now is not probed, if that is known: `Some(None)` is one that has nothing to
    /// do with TLS.
    pub(super) fn meet(&mut self, file: &RealFile) -> Option<Option<Reason>> {
        let known = self.0.get_mut(&file.key).filter(|known| known.stamp == file.stamp)?;
        known.met = Instant::now();
        Some(known.reason)
    }

    /// Adds a file.
    pub(super) fn remember(&mut self, file: &RealFile, reason: Option<Reason>) {
        if self.0.len() == MAX_REMEMBERED {
            self.0.clear();
        }
        self.0.insert(file.key, Entry { stamp: file.stamp, reason, met: Instant::now() });
    }

    /// Why files with TLS code are not probed.
    pub(super) fn reasons(&self) -> impl Iterator<Item = Reason> {
        self.0.values().filter_map(|file| file.reason)
    }

    /// Forgets what nobody has mapped for some time.
    pub(super) fn expire(&mut self, now: Instant) {
        self.0.retain(|_, file| now.saturating_duration_since(file.met) < KEPT);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::resolve::identified;

    #[test]
    fn what_nobody_maps_any_more_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let [gone, mapped] = ["gone", "mapped"].map(|name| {
            let path = folder.path().join(name);
            fs::write(&path, name).unwrap();
            path
        });
        let mut unprobed = Unprobed::default();
        unprobed.remember(&identified(&gone), Some(Reason::Changed));
        unprobed.remember(&identified(&mapped), None);
        let begun = Instant::now();
        assert_eq!(unprobed.reasons().count(), 1);
        assert_eq!(unprobed.meet(&identified(&mapped)), Some(None));
        assert_eq!(unprobed.meet(&identified(&gone)), Some(Some(Reason::Changed)));
        // As if it had been met long ago.
        let key = identified(&gone).key;
        unprobed.0.get_mut(&key).unwrap().met = begun;
        unprobed.0.get_mut(&identified(&mapped).key).unwrap().met = begun + KEPT;
        unprobed.expire(begun + KEPT);
        assert_eq!(unprobed.reasons().count(), 0);
        assert_eq!(unprobed.meet(&identified(&gone)), None);
        assert_eq!(unprobed.meet(&identified(&mapped)), Some(None));
        fs::write(&mapped, "written to").unwrap();
        assert_eq!(unprobed.meet(&identified(&mapped)), None, "it is another one now");
    }
}
