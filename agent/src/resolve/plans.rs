//! What known builds were resolved to, so that the next file of one costs no search.
//!
//! A build-id is what a file says of itself: a copy may have been written to since, or made to lie.
//! So a plan is used for another file only if that has the same headers, the same tables of symbols,
//! and the same bytes wherever code and data were looked at: then they lead to the same probes,
//! whatever else differs. Where that is more than can be compared in a millisecond, no plan is kept, as for
//! programs with megabytes of symbols.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

use super::{Resolution, elf::Elf, source::Source};
use crate::discover::BuildId;

/// Most builds that are known. Each takes some kilobytes.
const MAX_PLANS: usize = 4096;

/// Most bytes that a file is compared in: half a millisecond. Libraries that are probed have less by far.
const MAX_COMPARED: u64 = 3 << 20;

/// Builds with TLS libraries, by build-id, which programs of Go may be without, and size in bytes.
#[derive(Debug, Default)]
pub(super) struct Plans {
    plans: HashMap<(Option<BuildId>, u64), Plan>,
    /// Its keys are this process's own, so that no file can be made to have another's digest.
    hasher: RandomState,
}

#[derive(Debug)]
struct Plan {
    /// Offsets and lengths, bytes.
    looked_at: Vec<(u64, u64)>,
    digest: u64,
    resolution: Resolution,
}

impl Plans {
    /// What the file is, if it is of a known build, as far as that matters.
    pub(super) fn find(&self, source: &Source, elf: &Elf<'_>) -> Option<Resolution> {
        let plan = self.plans.get(&(elf.build_id(), source.len()))?;
        let digest = self.digest(source, &plan.looked_at)?;
        (digest == plan.digest).then(|| plan.resolution.clone())
    }

    /// Remembers what a file is that contains a library.
    pub(super) fn add(&mut self, source: &Source, elf: &Elf<'_>, resolution: &Resolution) {
        let Some(mut looked_at) = elf.looked_at() else { return };
        merge(&mut looked_at);
        let compared = looked_at.iter().map(|(_, length)| length).sum::<u64>();
        if compared > MAX_COMPARED {
            return;
        }
        let Some(digest) = self.digest(source, &looked_at) else { return };
        if self.plans.len() == MAX_PLANS {
            self.plans.clear();
        }
        let plan = Plan { looked_at, digest, resolution: resolution.clone() };
        self.plans.insert((elf.build_id(), source.len()), plan);
    }

    fn digest(&self, source: &Source, ranges: &[(u64, u64)]) -> Option<u64> {
        let mut hasher = self.hasher.build_hasher();
        let longest = ranges.iter().map(|(_, length)| *length).max()?;
        let mut buffer = vec![0; usize::try_from(longest).ok()?];
        for &(offset, length) in ranges {
            let part = buffer.get_mut(..usize::try_from(length).ok()?)?;
            source.fill(part, offset).ok()?;
            hasher.write(part);
        }
        Some(hasher.finish())
    }
}

/// Puts places in order, those that overlap as one.
fn merge(places: &mut Vec<(u64, u64)>) {
    places.sort_unstable();
    places.dedup_by(|(next, length), (start, before)| {
        let overlaps = *next <= start.saturating_add(*before);
        if overlaps {
            *before = (*before).max(next.saturating_add(*length) - *start);
        }
        overlaps
    });
}
