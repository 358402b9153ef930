//! Each kind of link that holds probes in place: what is probed, for whom, and that nothing stays.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tlstap_tests::{
    agent::{Agent, EVENT},
    deadline, kernel,
    node::Node,
    probed,
    talk::Talking,
};

crate::tests![
    nothing_is_left_in_the_code,
    nothing_is_left_by_a_kill,
    others_are_not_probed,
    a_named_process_that_executes,
    a_thread_that_executes,
    the_best_kind_is_told,
];

/// By the word on the command line, and what the log calls it.
const KINDS: [(&str, &str); 3] =
    [("session", "uprobe sessions"), ("multi", "uprobe multi links"), ("perf", "perf links")];

/// Those that this kernel has, the best first.
pub(crate) fn kinds() -> Result<&'static [(&'static str, &'static str)]> {
    let version = kernel::version()?;
    let lacks = usize::from(version < (6, 13)) + usize::from(version < (6, 10));
    KINDS.get(lacks..).context("no kind")
}

const LIBRARY: &str = "libssl.so.3";
const REQUEST: &[u8] = b"GET /linked HTTP/1.1\r\nHost: talk\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// Perf links take the kernel 0.1 s each.
const GONE: Duration = Duration::from_secs(30);

/// An agent with links of this kind, which it says that it has.
fn with(node: &Node, (kind, told): (&str, &str), arguments: &[&str]) -> Result<Agent> {
    let arguments = [&["trace", "-v", "-o", "json", "--links", kind], arguments].concat();
    let agent = node.tlstap(&arguments)?.ready()?;
    agent.complains(&format!("held by {told}"), EVENT)?;
    Ok(agent)
}

fn talking(node: &Node) -> Result<Talking> {
    node.talk()?.start(REQUEST, RESPONSE)
}

/// Waits until nothing in the library is probed any more.
fn unprobed(process: &Talking) -> Result<()> {
    deadline::until("the code to be as in its file", GONE, || {
        Ok((probed::places(process.pid(), LIBRARY)? == 0).then_some(()))
    })
}

fn nothing_is_left_in_the_code(node: &Node) -> Result<()> {
    for &kind in kinds()? {
        let mut process = talking(node)?;
        unprobed(&process)?;
        let mut agent = with(node, kind, &[])?;
        let places = probed::places(process.pid(), LIBRARY)?;
        ensure!(places >= 4, "{places} places are probed by {}", kind.1);
        process.go()?;
        agent.wait_for_count("both ends", 2, |_| true)?;
        agent.stop()?;
        unprobed(&process)?;
    }
    Ok(())
}

/// The kernel takes the probes away when it closes what a killed agent had open.
fn nothing_is_left_by_a_kill(node: &Node) -> Result<()> {
    for &kind in kinds()? {
        let mut process = talking(node)?;
        unprobed(&process)?;
        // Perf links to all that the node has would take the kernel half a minute to close.
        let pid = process.pid().to_string();
        let bound: &[&str] = if kind.0 == "perf" { &["--pid", &pid] } else { &[] };
        let agent = with(node, kind, bound)?;
        ensure!(probed::places(process.pid(), LIBRARY)? >= 4, "not probed by {}", kind.1);
        agent.stop_by(Signal::KILL)?;
        unprobed(&process)?;
        process.go()?;
        process.end()?;
    }
    Ok(())
}

/// Of two that share a library, one is named.
fn others_are_not_probed(node: &Node) -> Result<()> {
    for &kind in kinds()? {
        let (mut named, mut other) = (talking(node)?, talking(node)?);
        unprobed(&other)?;
        let mut agent = with(node, kind, &["--pid", &named.pid().to_string()])?;
        let places = probed::places(named.pid(), LIBRARY)?;
        ensure!(places >= 4, "{places} places are probed by {}", kind.1);
        let places = probed::places(other.pid(), LIBRARY)?;
        ensure!(places == 0, "{places} places of another are probed by {}", kind.1);
        other.go()?;
        named.go()?;
        agent.wait_for_count("both ends", 2, |_| true)?;
        named.end()?;
        agent.stop()?;
    }
    Ok(())
}

/// It maps its library only then, and is followed from its first byte on.
fn a_named_process_that_executes(node: &Node) -> Result<()> {
    let shell = ["/bin/sh", "-c", r#"echo waiting; read begin; exec "$0" "$@""#];
    executes(node, &shell, |_| Ok(()))
}

/// The process goes on under its number as another task than links were bound to: it is probed anew.
fn a_thread_that_executes(node: &Node) -> Result<()> {
    let script = "
import os, ssl, sys, threading
print('waiting', flush=True)
os.read(0, 6)
threading.Thread(target=os.execv, args=(sys.argv[1], sys.argv[1:])).start()
threading.Event().wait()
";
    executes(node, &["python3", "-c", script], |process| probed::wait_in(process.pid(), LIBRARY))
}

fn executes(
    node: &Node,
    through: &[&str],
    before_it_talks: impl Fn(&Talking) -> Result<()>,
) -> Result<()> {
    for &kind in kinds()? {
        let mut waiting = node.talk()?.through(through, REQUEST, RESPONSE)?;
        let mut agent = with(node, kind, &["--pid", &waiting.pid().to_string()])?;
        waiting.begin()?;
        before_it_talks(&waiting).with_context(|| format!("by {}", kind.1))?;
        waiting.go()?;
        let both = agent.wait_for_count("both ends", 2, |_| true);
        both.with_context(|| format!("by {}", kind.1))?;
        agent.stop()?;
    }
    Ok(())
}

/// What the kernel of this machine has is used, and `tlstap check` says the same.
fn the_best_kind_is_told(node: &Node) -> Result<()> {
    let check = node.tlstap(&["check"])?.output()?;
    let line = check.stdout.iter().find(|line| line.contains(" probes "));
    let line = line.context("nothing about probes")?;
    let (_, told) = kinds()?.first().context("no kind")?;
    ensure!(line.contains(told), "{line:?} does not tell of {told}");
    let agent = node.tlstap(&["trace", "-v", "-o", "none"])?.ready()?;
    agent.complains(&format!("held by {told}"), EVENT)?;
    agent.stop().map(drop)
}
