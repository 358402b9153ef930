//! Issue 4: what a killed process left in the kernel is never another's.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{
    killed::Killed,
    node::Node,
    recording::{Recording, Seen},
};

use super::session::Session;

crate::tests![a_thousand_times_in_a_call];

const TIMES: usize = 1_000;
/// Without an event for so long, there comes none.
const IDLE: Duration = Duration::from_secs(5);

fn a_thousand_times_in_a_call(node: &Node) -> Result<()> {
    let mut killing = node.killed(TIMES)?;
    let parent = killing.pid();
    let mut session = Session::start(node, &[], 2 * TIMES as u64)?;
    let killed = killing.go()?;
    killing.end()?;
    ensure!(killed.len() == TIMES, "{} were killed", killed.len());
    let pids: BTreeSet<_> = killed.iter().map(|killed| killed.pid).collect();
    ensure!(pids.len() == 1, "not one process id but {pids:?}");
    let least: u64 = killed.iter().map(|killed| killed.least + killed.heard).sum();
    let length = |recording: &Recording| recording.seen().map(|(_, seen)| seen.length).sum::<u64>();
    session.recording.read_until(IDLE, |recording| length(recording) >= least)?;
    session.agent.stop()?;
    session.recording.read()?;
    only_their_own(&session.recording, parent, &killed)
}

fn only_their_own(recording: &Recording, parent: u32, killed: &[Killed]) -> Result<()> {
    let mine = |pid: u32| pid == parent || killed.iter().any(|killed| killed.pid == pid);
    let seen: Vec<_> = recording.seen().map(|(_, seen)| seen).filter(|s| mine(s.pid)).collect();
    for killed in killed {
        let sent = only(&seen, killed.pid, "transmit", killed.stream)?;
        let right = (killed.least..=killed.most).contains(&sent.length);
        ensure!(right, "{sent:?}, not as sent by {killed:?}");
        let heard = only(&seen, parent, "receive", killed.stream)?;
        ensure!(heard.length == killed.heard, "{heard:?}, not as heard of {killed:?}");
    }
    ensure!(seen.len() == 2 * killed.len(), "{} streams, not {}", seen.len(), 2 * killed.len());
    Ok(())
}

/// The only thing seen of a stream, which is whole.
fn only<'a>(seen: &[&'a Seen], pid: u32, direction: &str, stream: u64) -> Result<&'a Seen> {
    let fits = |seen: &&&Seen| {
        (seen.pid, seen.direction.as_str(), seen.streams.as_slice()) == (pid, direction, &[stream])
    };
    let found: Vec<_> = seen.iter().filter(fits).collect();
    ensure!(found.len() == 1, "{direction} of stream {stream} was seen so: {found:?}");
    let found = found.first().context("none")?;
    ensure!(found.gaps.is_empty(), "gaps: {found:?}");
    Ok(found)
}
