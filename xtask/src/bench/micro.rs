//! (a) What one hit of a probe costs on this machine, by the instruction that it is on, and what
//! copying costs by size.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    ground::Ground,
    process::{Core, on},
    table::Table,
};
use crate::command;

pub(super) fn measure(ground: &Ground, quick: bool) -> Result<Value> {
    let mut micro = on(Core::Server, ground.path("micro"));
    let said = command::output(micro.arg(if quick { "1000" } else { "5000" }))?;
    let mut costs = Vec::new();
    for line in said.lines() {
        let (name, cost) = line.split_once(' ').context("an odd line of the micro program")?;
        costs.push((name, cost.parse::<i64>().context("no cost")?));
    }
    print(&costs)?;
    let named = |(name, cost): &(&str, i64)| json!({"probe": name, "ns": cost});
    Ok(costs.iter().map(named).collect())
}

fn print(costs: &[(&str, i64)]) -> Result<()> {
    let cost = |name: &str| {
        let found = costs.iter().find(|(known, _)| *known == name);
        found.map_or_else(|| "-".to_owned(), |(_, cost)| cost.to_string())
    };
    let title = "One hit of a probe, ns, by the first instruction (empty BPF program)";
    let mut table = Table::new(title, ["instruction", "entry", "entry + uretprobe"]);
    for (name, _) in costs {
        if let Some(name) = name.strip_prefix("entry/") {
            let both = cost(&format!("entry+return/{name}"));
            table.row(vec![name.to_owned(), cost(&format!("entry/{name}")), both]);
        }
    }
    table.print()?;
    let title = "The same on `push`, copying so many bytes into the ring";
    let mut table = Table::new(title, ["bytes", "entry, ns"]);
    for (name, cost) in costs {
        if let Some(bytes) = name.strip_prefix("entry+copy/") {
            table.row(vec![bytes.to_owned(), cost.to_string()]);
        }
    }
    table.print()
}
