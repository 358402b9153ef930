//! Issue 4: what found no room is a gap, to the byte, also when nothing came after it.

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tlstap_tests::{account, exact::Exact, node::Node};

use super::session::Session;

crate::tests![
    that_is_too_small,
    that_is_too_small_for_most,
    that_nobody_reads,
    that_nobody_reads_until_the_process_is_gone,
];

const SIZES: [usize; 4] = [100, 16_000, 40, 5_000];

/// Connections of many threads in many processes.
fn crowd(node: &Node) -> Result<Exact> {
    Ok(node.exact()?.flags(&["--workers", "4", "--pairs", "4", "--rounds", "25"]))
}

/// Holds every connection to be accounted for, and at least one to have lost something.
fn accounted(mut session: Session, exact: Exact) -> Result<()> {
    let (_, told) = session.exchange(exact, &SIZES)?;
    ensure!(told.iter().any(|told| !told.seen.gaps.is_empty()), "lost nothing: tests nothing");
    account::only_full(&told)?;
    session.stop()
}

fn that_is_too_small(node: &Node) -> Result<()> {
    accounted(Session::start(node, &["--ring-size", "64"], 32)?, crowd(node)?)
}

/// A page: no whole TLS record fits.
fn that_is_too_small_for_most(node: &Node) -> Result<()> {
    accounted(Session::start(node, &["--ring-size", "4"], 32)?, crowd(node)?)
}

/// While the agent does not run, all ends of connections and processes find no room.
fn stopped(node: &Node, flags: &[&str]) -> Result<()> {
    let mut session = Session::start(node, &["--ring-size", "64"], 32)?;
    let mut exchange = crowd(node)?.flags(flags).start(&SIZES)?;
    session.agent.signal(Signal::STOP)?;
    let ends = exchange.go()?;
    exchange.end()?;
    session.agent.signal(Signal::CONT)?;
    let told = session.told(&ends).context("after the agent had stood still")?;
    ensure!(told.iter().any(|told| !told.seen.gaps.is_empty()), "lost nothing: tests nothing");
    account::only_full(&told)?;
    session.stop()
}

fn that_nobody_reads(node: &Node) -> Result<()> {
    stopped(node, &[])
}

/// Without a word about the end of the connections.
fn that_nobody_reads_until_the_process_is_gone(node: &Node) -> Result<()> {
    stopped(node, &["--leave"])
}
