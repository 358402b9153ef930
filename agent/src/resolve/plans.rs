//! What known builds were resolved to, so that the next file of one costs no search.
//!
//! A build-id is what a file says of itself: a copy may have been written to since, or made to lie.
//! So a plan is used for another file only if that has the same headers, the same names of functions,
//! and the same bytes wherever code and data were looked at: then they lead to the same probes,
//! whatever else differs. Where that is more than can be compared, no plan is kept.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, Hasher as _, RandomState},
};

use super::{Resolution, elf::Elf, source::Source};
use crate::discover::BuildId;

/// Most builds that are known. Each takes some kilobytes.
const MAX_PLANS: usize = 4096;

/// Most bytes that a file is compared in. Those of libraries that are probed have less by far.
const MAX_COMPARED: u64 = 1 << 20;

/// Builds with TLS libraries, by build-id and size in bytes.
#[derive(Debug, Default)]
pub(super) struct Plans {
    plans: HashMap<(BuildId, u64), Plan>,
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
        let plan = self.plans.get(&(elf.build_id()?, source.len()))?;
        let digest = self.digest(source, &plan.looked_at)?;
        (digest == plan.digest).then(|| plan.resolution.clone())
    }

    /// Remembers what a file is that contains a library.
    pub(super) fn add(&mut self, source: &Source, elf: &Elf<'_>, resolution: &Resolution) {
        let Some(build) = elf.build_id() else { return };
        let Some(mut looked_at) = elf.looked_at() else { return };
        looked_at.sort_unstable();
        let compared = looked_at.iter().map(|(_, length)| length).sum::<u64>();
        let Some(digest) = self.digest(source, &looked_at).filter(|_| compared <= MAX_COMPARED)
        else {
            return;
        };
        if self.plans.len() == MAX_PLANS {
            self.plans.clear();
        }
        let plan = Plan { looked_at, digest, resolution: resolution.clone() };
        self.plans.insert((build, source.len()), plan);
    }

    fn digest(&self, source: &Source, ranges: &[(u64, u64)]) -> Option<u64> {
        let mut hasher = self.hasher.build_hasher();
        let mut buffer = Vec::new();
        for &(offset, length) in ranges {
            buffer.resize(usize::try_from(length).ok()?, 0);
            source.fill(&mut buffer, offset).ok()?;
            hasher.write(&buffer);
        }
        Some(hasher.finish())
    }
}
