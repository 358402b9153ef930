//! Issue 9: the agent is killed at any moment of its life, under load. No request goes unanswered, nothing of
//! it is left, and the next one works.
//!
//! Every fourth is killed while it detaches, with the child that it leaves that to. Of the others a third
//! has just begun, one puts probes in place, one is at work, as far as that can be foretold.

use std::{
    fmt,
    thread::park_timeout,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tlstap_tests::{
    agent::{Agent, END, Launch},
    bpf::Objects,
    deadline,
    event::text,
    node::Node,
    pressure::Pressure,
    probed, process,
    random::Random,
    setting, tool,
};

use crate::links;

crate::tests![at_random_moments];

/// If `cargo xtask soak kill` does not ask for more.
const SHORT: u64 = 20;
/// For what a killed agent had open to be gone. Perf links take the kernel 0.1 s each.
const GONE: Duration = Duration::from_secs(30);
/// What an agent takes to detach, with a child for each of several links at a time.
const DETACHED_MS: usize = 400;
const LIBRARY: &str = "libssl.so.3";

fn at_random_moments(node: &Node) -> Result<()> {
    let times = setting::number(setting::TIMES, SHORT)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let seed = setting::number(setting::SEED, now)?.max(1);
    eprintln!("{times} times, {}={seed}", setting::SEED);
    let mut killing = Killing::start(node, seed)?;
    for time in 1..=times {
        killing.once(time).with_context(|| format!("agent {time}, {}={seed}", setting::SEED))?;
    }
    killing.the_next_works(node)?;
    let Killing { load, phases, .. } = killing;
    let answered = load.end()?;
    eprintln!("killed {phases}; {answered} requests, all of them answered");
    phases.all_of(times)
}

/// In which part of their lives agents were killed.
#[derive(Debug, Default)]
struct Phases {
    before_a_probe: u64,
    while_attaching: u64,
    at_work: u64,
    while_detaching: u64,
}

impl Phases {
    /// Holds none of the phases to be a matter of luck.
    fn all_of(&self, times: u64) -> Result<()> {
        let Self { before_a_probe, while_attaching, at_work, while_detaching } = *self;
        let probed = while_attaching + at_work;
        let each = [before_a_probe, probed, while_detaching];
        ensure!(each.iter().sum::<u64>() == times, "{self} of {times}");
        ensure!(each.into_iter().all(|count| count * 20 >= times), "{self}: tests little");
        Ok(())
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before_a_probe, while_attaching, at_work, while_detaching } = self;
        write!(f, "{before_a_probe} before the first probe, {while_attaching} while attaching, ")?;
        write!(f, "{at_work} at work, {while_detaching} while detaching")
    }
}

/// Load, and what there was before the first agent.
struct Killing<'a> {
    node: &'a Node,
    load: Pressure,
    before: Objects,
    random: Random,
    /// What the last agent that was ready took for that from its start, and half as long again.
    life_ms: usize,
    phases: Phases,
}

impl<'a> Killing<'a> {
    fn start(node: &'a Node, seed: u64) -> Result<Self> {
        // Probes of former tests may still be going.
        deadline::until("the end of former agents", GONE, || {
            Ok(process::orphans("tlstap")?.is_empty().then_some(()))
        })?;
        let (load, before) = (Pressure::start()?, Objects::now()?);
        // Seeds that follow one another begin alike.
        let random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).max(1));
        let phases = Phases::default();
        let mut killing = Self { node, load, before, random, life_ms: 0, phases };
        killing.life_ms = killing.life()?;
        Ok(killing)
    }

    fn life(&self) -> Result<usize> {
        let (agent, life_ms) = life_of(tracing(self.node, &[])?.start()?)?;
        agent.stop()?;
        self.nothing_is_left()?;
        Ok(life_ms)
    }

    /// Starts an agent and kills it.
    fn once(&mut self, time: u64) -> Result<()> {
        let agent = self.launch()?.start()?;
        let mark = agent.mark().to_owned();
        match time % 4 {
            0 => self.while_detaching(agent)?,
            part => self.in_its_life(agent, usize::try_from(part - 1)?)?,
        }
        deadline::until("the end of its children", GONE, || {
            Ok(process::with_environment(&mark)?.is_empty().then_some(()))
        })?;
        self.nothing_is_left()?;
        self.load.goes_on()
    }

    /// Mostly with the best kind of links. Perf links take so long that only those of one process are made.
    fn launch(&mut self) -> Result<Launch> {
        let kinds = links::kinds()?;
        let number = self.random.below(16).saturating_sub(16 - kinds.len());
        let (kind, _) = kinds.get(number).context("no kind")?;
        let [server, _] = self.load.pids();
        let server = server.to_string();
        let bound: &[&str] = if *kind == "perf" { &["--pid", &server] } else { &[] };
        tracing(self.node, &[&["--links", kind], bound].concat())
    }

    /// In a third of its life, from 0 on.
    fn in_its_life(&mut self, agent: Agent, third: usize) -> Result<()> {
        let third_ms = self.life_ms / 3;
        let begins = Duration::from_millis((third * third_ms).try_into()?);
        park_timeout(begins + self.moment(third_ms));
        let [server, _] = self.load.pids();
        let (probed, ready) = (probed::places(server, LIBRARY)? > 0, agent.is_ready());
        agent.stop_by(Signal::KILL)?;
        match (probed, ready) {
            (false, _) => self.phases.before_a_probe += 1,
            (true, false) => self.phases.while_attaching += 1,
            (true, true) => self.phases.at_work += 1,
        }
        Ok(())
    }

    /// Kills it and its children, as it happens to all of a container.
    fn while_detaching(&mut self, agent: Agent) -> Result<()> {
        let (agent, life_ms) = life_of(agent)?;
        self.life_ms = life_ms;
        agent.signal(Signal::INT)?;
        park_timeout(self.moment(DETACHED_MS));
        for pid in process::with_environment(agent.mark())? {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no pid")?;
            // It may have ended meanwhile.
            let _ = kill_process(pid, Signal::KILL);
        }
        agent.finish(END)?;
        self.phases.while_detaching += 1;
        Ok(())
    }

    fn moment(&mut self, limit_ms: usize) -> Duration {
        Duration::from_millis(self.random.below(limit_ms.max(1)) as u64)
    }

    /// No program, no map, no link, and all code as it is in its files.
    fn nothing_is_left(&self) -> Result<()> {
        deadline::until("everything of the agent to be gone", GONE, || {
            Ok((Objects::now()?.since(&self.before).counts() == [0; 3]).then_some(()))
        })?;
        for pid in self.load.pids() {
            deadline::until("the code to be as in its file", GONE, || {
                Ok((probed::changed(pid)? == 0).then_some(()))
            })?;
        }
        Ok(())
    }

    fn the_next_works(&self, node: &Node) -> Result<()> {
        let mut agent = node.tlstap(&["trace", "-o", "json", "--comm", "curl"])?.ready()?;
        let url = self.load.number(7);
        let answer = tool::run(tool::command("curl", ["--silent", "--insecure", &url])?)?;
        ensure!(answer == "7", "{answer:?}");
        agent.wait_for("the last request", |events| {
            events.iter().find(|event| text(event, "/url/query") == Some("n=7")).map(drop)
        })?;
        agent.stop().map(drop)
    }
}

/// Waits until an agent is ready that has just been started; half as long again as that took, in milliseconds.
fn life_of(agent: Agent) -> Result<(Agent, usize)> {
    let begun = Instant::now();
    let agent = agent.until_ready()?;
    Ok((agent, usize::try_from(begun.elapsed().as_millis())? * 3 / 2))
}

/// An agent that decodes all, and writes it to where it is no work to read it.
fn tracing(node: &Node, arguments: &[&str]) -> Result<Launch> {
    let all = [&["trace", "-o", "json", "--write", "/dev/null"], arguments].concat();
    node.tlstap(&all)
}
