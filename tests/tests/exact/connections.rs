//! Issue 4: no byte on a wrong connection.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use tlstap_tests::{
    account::{self, Told},
    node::Node,
};

use super::session::Session;

crate::tests![
    a_thousand_over_32_threads,
    a_thousand_over_32_threads_by_three_decoders,
    of_16_forked_workers,
];

/// That is more than the agent can write on a small machine: what it left out is a gap, and what
/// it told is enough to show that each byte stands where it belongs.
fn enough(told: &[Told]) -> Result<()> {
    account::only_full(told)?;
    let (bytes, sum) = told
        .iter()
        .map(|told| (told.seen.told(), told.seen.length))
        .fold((0, 0), |sum, next| (sum.0 + next.0, sum.1 + next.1));
    ensure!(bytes > sum / 10, "{bytes} bytes of {sum} told: tests nothing");
    Ok(())
}

/// Each connection is moved by many of the threads.
fn a_thousand_over_32_threads(node: &Node) -> Result<()> {
    a_thousand(node, &[])
}

/// Which decode side by side, and write in turns.
fn a_thousand_over_32_threads_by_three_decoders(node: &Node) -> Result<()> {
    a_thousand(node, &["--decoders", "3"])
}

fn a_thousand(node: &Node, arguments: &[&str]) -> Result<()> {
    let mut session = Session::start(node, arguments, 2_000)?;
    let flags = ["--pairs", "1000", "--nonblocking", "32", "--tcp", "--rounds", "3"];
    let (ends, told) = session.exchange(node.exact()?.flags(&flags), &[1, 100, 2_000])?;
    ensure!(ends.len() == 2_000 && told.len() == 4_000, "{} ends", ends.len());
    enough(&told)?;
    ensure!(account::ports(&told, &ends)? > told.len() / 2, "ports of few directions");
    session.stop()
}

/// They inherit the TLS contexts and the heap, so that their TLS objects have the same addresses.
fn of_16_forked_workers(node: &Node) -> Result<()> {
    let mut session = Session::start(node, &[], 128)?;
    let flags = ["--workers", "16", "--pairs", "4", "--rounds", "10", "--tcp"];
    let (ends, told) = session.exchange(node.exact()?.flags(&flags), &[1, 100, 2_000, 20_000])?;
    ensure!(ends.len() == 128 && told.len() == 256, "{} ends", ends.len());
    let mut workers = BTreeMap::<u64, BTreeSet<u32>>::new();
    for end in &ends {
        workers.entry(end.object).or_default().insert(end.pid);
    }
    ensure!(workers.values().all(|pids| pids.len() == 16), "not one address: {workers:?}");
    enough(&told)?;
    ensure!(account::ports(&told, &ends)? > told.len() / 2, "ports of few directions");
    session.stop()
}
