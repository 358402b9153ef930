//! However it ends: the prompt at once, exit 0, one summary line, and nothing left behind.

use std::{collections::BTreeSet, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tlstap_tests::{
    agent::{Agent, END, EVENT, PROMPT},
    bpf,
    cli::Ended,
    deadline,
    node::Node,
    process,
    talk::Talking,
};

crate::tests![by_interrupt, by_termination, by_closed_stdout, with_many_probes, by_kill];

/// Detaching takes the kernel 0.1 s a probe, one after the other.
const GONE: Duration = Duration::from_secs(20);

/// What the agent put into the kernel, and how to find its processes.
struct Traces {
    programs: BTreeSet<u64>,
    mark: String,
}

impl Traces {
    /// Starts an agent by `start`; what the kernel has more afterwards is its.
    fn of(start: impl FnOnce() -> Result<Agent>) -> Result<(Agent, Self)> {
        let before = bpf::programs()?;
        let agent = start()?;
        let programs = bpf::programs()?.difference(&before).copied().collect::<BTreeSet<_>>();
        ensure!(!programs.is_empty(), "an agent that is ready has no program in the kernel");
        let mark = agent.mark().to_owned();
        Ok((agent, Self { programs, mark }))
    }

    fn gone(&self) -> Result<()> {
        let gone = deadline::until("the end of all programs and processes", GONE, || {
            let programs = bpf::programs()?.intersection(&self.programs).count();
            let processes = process::with_environment(&self.mark)?.len();
            Ok((programs == 0 && processes == 0).then_some(()))
        });
        gone.with_context(|| {
            format!(
                "programs {:?} of {:?}, processes {:?}",
                bpf::programs(),
                self.programs,
                process::with_environment(&self.mark)
            )
        })
    }
}

fn well(ended: &Ended) -> Result<()> {
    ended.succeeded()?;
    ensure!(ended.took <= PROMPT, "the prompt came after {:?}", ended.took);
    ended.summary()?;
    Ok(())
}

fn talking(node: &Node) -> Result<Talking> {
    node.talk()?.flags(&["--rounds", "5"]).start(b"ping", b"pong")
}

fn by_signal(node: &Node, signal: Signal) -> Result<()> {
    let mut talking = talking(node)?;
    let (mut agent, traces) =
        Traces::of(|| node.tlstap(&["trace", "--raw", "-o", "json"])?.ready())?;
    talking.go()?;
    agent.wait_for_count("any", 20, |_| true)?;
    well(&agent.stop_by(signal)?)?;
    traces.gone()
}

fn by_interrupt(node: &Node) -> Result<()> {
    by_signal(node, Signal::INT)
}

fn by_termination(node: &Node) -> Result<()> {
    by_signal(node, Signal::TERM)
}

fn by_closed_stdout(node: &Node) -> Result<()> {
    let mut talking = talking(node)?;
    let launch = || node.tlstap(&["trace", "--raw", "-o", "json"])?.head(1).ready();
    let (agent, traces) = Traces::of(launch)?;
    talking.go()?;
    agent.says("tlstap/v1", EVENT)?;
    well(&agent.finish(END)?)?;
    traces.gone()
}

/// A dozen libraries: their probes take seconds to detach, which nobody must wait for.
fn with_many_probes(node: &Node) -> Result<()> {
    let mut all = Vec::new();
    for number in 0..12 {
        let folder = node.scratch().join(format!("library-{number}"));
        fs::create_dir_all(&folder)?;
        all.push(node.talk()?.own_library(&folder)?.start(b"ping", b"pong")?);
    }
    let (mut agent, traces) =
        Traces::of(|| node.tlstap(&["trace", "--raw", "-o", "json"])?.ready())?;
    for talking in &mut all {
        talking.go()?;
    }
    agent.wait_for_count("any", 4 * all.len(), |_| true)?;
    well(&agent.stop_by(Signal::INT)?)?;
    traces.gone()
}

/// Nobody can answer a KILL; the kernel must clean up.
fn by_kill(node: &Node) -> Result<()> {
    let _talking = talking(node)?;
    let (agent, traces) = Traces::of(|| node.tlstap(&["trace", "-o", "json"])?.ready())?;
    agent.stop_by(Signal::KILL)?;
    traces.gone()
}
