//! Issue 4: the same messages by Python's ssl module, which calls the `_ex` functions only.

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{account, exact::End, node::Node};

use super::{SIZES, session::Session};

crate::tests![blocking, nonblocking, over_memory, by_asyncio];

fn exchange(node: &Node, flags: &[&str], ends: usize, shows: fn(&End) -> bool) -> Result<()> {
    let mut session = Session::start(node, &[], 8)?;
    let (said, told) = session.exchange(node.exact_in_python()?.flags(flags), &SIZES)?;
    ensure!(said.len() == ends && said.iter().all(shows), "not in this mode: {said:?}");
    account::whole(&told).with_context(|| format!("with {flags:?}"))?;
    account::ports(&told, &said)?;
    session.stop()
}

fn blocking(node: &Node) -> Result<()> {
    exchange(node, &["blocking"], 2, |_| true)
}

fn nonblocking(node: &Node) -> Result<()> {
    exchange(node, &["nonblocking"], 2, |end| end.write_retries > 10 && end.read_retries > 10)
}

fn over_memory(node: &Node) -> Result<()> {
    exchange(node, &["memory"], 2, |end| end.read_retries > 10)
}

fn by_asyncio(node: &Node) -> Result<()> {
    exchange(node, &["asyncio", "--pairs", "3"], 6, |end| end.port != 0)
}
