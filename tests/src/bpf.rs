//! The kernel's list of BPF programs, by bpftool.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::tool;

/// Names of the agent's programs.
const OURS: [&str; 4] = ["call_entry", "call_return", "call_session", "object_free"];

/// How often programs ran, counted while this lives.
pub struct Runs {
    /// Whether it counted before.
    counted: bool,
}

const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl Runs {
    /// Has the kernel count.
    pub fn count() -> Result<Self> {
        let counted = fs::read_to_string(STATISTICS)?.trim() == "1";
        if !counted {
            fs::write(STATISTICS, "1").context("failed to have the kernel count")?;
        }
        Ok(Self { counted })
    }

    /// The runs so far of the programs that are not among those, by type of program.
    pub fn so_far(&self, kind: &str, others: &BTreeSet<u64>) -> Result<u64> {
        let ours = listed("prog")?.into_iter().filter(|program| {
            program["type"] == kind
                && !program["id"].as_u64().is_some_and(|id| others.contains(&id))
        });
        Ok(ours.filter_map(|program| program.get("run_cnt")?.as_u64()).sum())
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        if !self.counted {
            // What could be written before can be written again.
            let _ = fs::write(STATISTICS, "0");
        }
    }
}

/// Ids of what the kernel has of BPF, whoever made it.
#[derive(Debug, PartialEq, Eq)]
pub struct Objects {
    programs: BTreeSet<u64>,
    maps: BTreeSet<u64>,
    links: BTreeSet<u64>,
}

impl Objects {
    /// What there is now.
    pub fn now() -> Result<Self> {
        let ids = |what| -> Result<BTreeSet<_>> {
            Ok(listed(what)?.iter().filter_map(|object| object["id"].as_u64()).collect())
        };
        Ok(Self { programs: ids("prog")?, maps: ids("map")?, links: ids("link")? })
    }

    /// What there was not before.
    pub fn since(mut self, before: &Self) -> Self {
        self.programs.retain(|id| !before.programs.contains(id));
        self.maps.retain(|id| !before.maps.contains(id));
        self.links.retain(|id| !before.links.contains(id));
        self
    }

    /// How many programs, maps and links.
    pub fn counts(&self) -> [usize; 3] {
        [self.programs.len(), self.maps.len(), self.links.len()]
    }
}

/// Ids of all programs of all kinds.
pub fn everything() -> Result<BTreeSet<u64>> {
    Ok(listed("prog")?.iter().filter_map(|program| program["id"].as_u64()).collect())
}

/// The ring of records of the agent that was started last.
pub fn newest_ring() -> Result<u64> {
    let maps = listed("map")?;
    let rings = maps.iter().filter(|map| map["name"] == "RECORDS");
    rings.filter_map(|map| map["id"].as_u64()).max().context("no agent has a ring")
}

fn listed(what: &str) -> Result<Vec<Value>> {
    let listed = tool::run(tool::command("bpftool", [what, "show", "-j"])?)?;
    serde_json::from_str(&listed).context("bpftool's list is no JSON")
}

/// Ids of all programs with the agent's names, whichever agent loaded them.
pub fn programs() -> Result<BTreeSet<u64>> {
    let listed = listed("prog")?;
    let ours = listed
        .iter()
        .filter(|program| program["name"].as_str().is_some_and(|name| OURS.contains(&name)));
    Ok(ours.filter_map(|program| program["id"].as_u64()).collect())
}
