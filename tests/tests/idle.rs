//! What the agent costs when nothing happens.

use std::time::Duration;

use anyhow::{Result, ensure};
use tlstap_tests::{child::Child, node::Node, process, process::Load, tool};

crate::tests![little_memory_and_no_spinning];

const PROCESSES: usize = 200;
const MEMORY_KIB: u64 = 60 * 1024;

/// Of one core, in thousandths of a per cent.
const CPU: u128 = 500;

/// Other programs of the machine make work for the agent; a spinning thread is seen in each of
/// these, however quiet they are.
const WINDOWS: usize = 20;
const WINDOW: Duration = Duration::from_millis(1_500);

fn little_memory_and_no_spinning(node: &Node) -> Result<()> {
    let mut idle = Vec::new();
    for _ in 0..PROCESSES {
        idle.push(sleeper()?);
    }
    let _talking = node.talk()?.start(b"", b"")?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let mut lowest = u128::MAX;
    for _ in 0..WINDOWS {
        let load = Load::of(agent.pid())?;
        agent.lives_for(WINDOW)?;
        lowest = lowest.min(load.share()?);
        if lowest <= CPU {
            break;
        }
    }
    ensure!(lowest <= CPU, "{}.{:03} % of a core while idle", lowest / 1_000, lowest % 1_000);
    let memory = process::resident_kib(agent.pid())?;
    ensure!(memory <= MEMORY_KIB, "{memory} KiB resident, not {MEMORY_KIB}");
    agent.stop()?;
    Ok(())
}

fn sleeper() -> Result<Child> {
    let command = tool::command("sleep", ["600"])?;
    Child::start(command)
}
