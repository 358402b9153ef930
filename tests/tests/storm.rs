//! Processes that come and go faster than anyone can look at them.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Result, ensure};
use serde_json::Value;
use tlstap_tests::{event::number, node::Node, process, process::Load, tool};

crate::tests![short_processes, two_thousand_a_minute];

fn short(program: &str, arguments: &[&str]) -> Result<Child> {
    let mut command = tool::command(program, arguments)?;
    Ok(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}

/// Starts processes, every third of which maps libssl, and waits for all of them.
fn storm(count: usize) -> Result<()> {
    for batch in 0..count.div_ceil(30) {
        let mut running = Vec::new();
        for number in 0..30.min(count - 30 * batch) {
            running.push(match number % 3 {
                0 => short("openssl", &["version"])?,
                _ => short("true", &[])?,
            });
        }
        for mut process in running {
            process.wait()?;
        }
    }
    Ok(())
}

fn short_processes(node: &Node) -> Result<()> {
    let mut talking = node.talk()?.start(b"ping", b"pong")?;
    let pid = u64::from(talking.pid());
    let mut agent = node.tlstap(&["trace", "--raw", "-o", "json"])?.ready()?;
    storm(600)?;
    talking.go()?;
    let mine = |event: &Value| number(event, "/process/pid") == Some(pid);
    agent.wait_for_count("the fixture's pieces", 4, mine)?;
    agent.stop()?;
    Ok(())
}

/// Issue 3: at this rate the agent takes at most 5 % of a core and does not grow.
fn two_thousand_a_minute(node: &Node) -> Result<()> {
    let talking = node.talk()?.start(b"ping", b"pong")?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    storm(60)?;
    let descriptors = process::descriptors(agent.pid())?;
    let memory = process::resident_kib(agent.pid())?;
    let load = Load::of(agent.pid())?;
    for _ in 0..10 {
        storm(33)?;
        agent.lives_for(Duration::from_millis(900))?;
    }
    let share = load.share()?;
    ensure!(share <= 5_000, "{}.{:03} % of a core, not 5 %", share / 1_000, share % 1_000);
    let more = process::descriptors(agent.pid())?.saturating_sub(descriptors);
    ensure!(more <= 4, "{more} more open descriptors");
    let more = process::resident_kib(agent.pid())?.saturating_sub(memory);
    ensure!(more <= 4_096, "{more} KiB more memory");
    agent.stop()?;
    talking.end()
}
