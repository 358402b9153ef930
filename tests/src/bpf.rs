//! The kernel's list of BPF programs, by bpftool.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::tool;

/// Names of the agent's programs.
const OURS: [&str; 3] = ["call_entry", "call_return", "object_free"];

/// Ids of all programs with the agent's names, whichever agent loaded them.
pub fn programs() -> Result<BTreeSet<u64>> {
    let listed = tool::run(tool::command("bpftool", ["prog", "show", "-j"])?)?;
    let listed: Vec<Value> = serde_json::from_str(&listed).context("bpftool's list is no JSON")?;
    let ours = listed
        .iter()
        .filter(|program| program["name"].as_str().is_some_and(|name| OURS.contains(&name)));
    Ok(ours.filter_map(|program| program["id"].as_u64()).collect())
}
