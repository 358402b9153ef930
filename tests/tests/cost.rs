//! Issue 5: what tracing costs, by counts that are the same on any machine, and by ratios of times
//! within one run.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;
use tlstap_tests::{
    agent::{Agent, EVENT, PROMPT},
    bpf,
    cli::Ended,
    deadline,
    node::Node,
    pace::Pace,
    probed, process,
    talk::Talking,
};

crate::tests![
    few_hits_a_request,
    few_wakeups,
    little_room_in_the_ring,
    a_reader_that_stalls,
    a_prompt_after_many_probes,
    a_process_that_is_left_out,
];

/// Bytes of a message.
const MESSAGE: u64 = 64;

/// An agent that traces this process only, and says nothing.
fn tracing(node: &Node, pace: &Pace, arguments: &[&str]) -> Result<Agent> {
    let pid = pace.pid().to_string();
    let launch = node.tlstap(&[&["trace", "-o", "none", "--pid", &pid], arguments].concat())?;
    launch.ready()
}

/// The number before this text in the summary.
fn summed(ended: &Ended, text: &str) -> Result<u64> {
    let summary = ended.summary()?;
    let (before, _) = summary.split_once(text).with_context(|| summary.to_owned())?;
    let number = before.trim_end().rsplit(' ').next().unwrap_or_default();
    number.parse().with_context(|| summary.to_owned())
}

/// Holds the agent to have seen so many messages, and to have lost nothing.
fn nothing_lost(ended: &Ended, calls: u64) -> Result<()> {
    let summary = ended.summary()?;
    ensure!(summary.ends_with("nothing lost"), "{summary}");
    let bytes = summed(ended, " plaintext bytes")?;
    ensure!(bytes == calls * MESSAGE, "{bytes} plaintext bytes, not {}", calls * MESSAGE);
    Ok(())
}

/// A request is read by one call, which is looked at near its end only, and answered by another: 3
/// hits of probes for both.
fn few_hits_a_request(node: &Node) -> Result<()> {
    const CALLS: u64 = 20_000;
    let others = bpf::everything()?;
    let mut pace = node.pace(&[])?;
    let agent = tracing(node, &pace, &[])?;
    pace.go(CALLS)?;
    let runs = bpf::Runs::count()?;
    let mut lowest = u64::MAX;
    // Other programs use libssl too.
    for _ in 0..3 {
        let before = runs.so_far("kprobe", &others)?;
        pace.go(CALLS)?;
        lowest = lowest.min(runs.so_far("kprobe", &others)? - before);
    }
    drop(runs);
    ensure!(lowest > 0, "no probe was hit, or the kernel does not count");
    let requests = CALLS / 2;
    ensure!(lowest <= 3 * requests, "{lowest} hits for {requests} requests");
    agent.stop().map(drop)
}

/// At most 5 for 1,000 records, however fast they come.
fn few_wakeups(node: &Node) -> Result<()> {
    const CALLS: u64 = 100_000;
    let mut pace = node.pace(&[])?;
    let agent = tracing(node, &pace, &[])?;
    let wakeups = node.wakeups(bpf::newest_ring()?)?;
    let mut counts = Vec::new();
    for rate in [10_000, 50_000, 1_000_000] {
        let before = wakeups.so_far()?;
        pace.go_at(CALLS / 4, rate)?;
        counts.push((rate, wakeups.so_far()? - before));
    }
    nothing_lost(&agent.stop()?, 3 * (CALLS / 4))?;
    let few = |(_, count): &(u64, u64)| *count <= 5 * CALLS / 4 / 1_000;
    ensure!(counts.iter().all(few), "(calls a second, wake-ups for {}): {counts:?}", CALLS / 4);
    Ok(())
}

/// A message of 64 bytes takes 160: so many fit into a ring that nobody reads.
fn little_room_in_the_ring(node: &Node) -> Result<()> {
    const RING_KIB: u64 = 256;
    let mut pace = node.pace(&[])?;
    let agent = tracing(node, &pace, &["--ring-size", &RING_KIB.to_string()])?;
    pace.go(1_000)?;
    settled(&agent)?;
    agent.signal(Signal::STOP)?;
    stopped(&agent)?;
    pace.go(4 * RING_KIB * 1024 / 160)?;
    agent.signal(Signal::CONT)?;
    let ended = agent.stop()?;
    let fitted = summed(&ended, " plaintext bytes")? / MESSAGE - 1_000;
    // A fifth is for others (docs/limits.md, Shares).
    let each = RING_KIB * 1024 / 100 * 79 / fitted;
    ensure!(each <= 160, "{fitted} messages fit into {RING_KIB} KiB: {each} bytes each");
    Ok(())
}

/// 8 MiB are enough for 100,000 messages a second while the reader stands still for 250 ms.
fn a_reader_that_stalls(node: &Node) -> Result<()> {
    const RATE: u64 = 100_000;
    const STALL: Duration = Duration::from_millis(250);
    let mut pace = node.pace(&[])?;
    let agent = tracing(node, &pace, &["--ring-size", "8192"])?;
    pace.go(1_000)?;
    let stalled = RATE * u64::try_from(STALL.as_millis())? / 1_000;
    agent.signal(Signal::STOP)?;
    stopped(&agent)?;
    let begun = Instant::now();
    pace.go_at(stalled, RATE)?;
    // On a slow machine they take longer, and so does the stall.
    thread::sleep(STALL.saturating_sub(begun.elapsed()));
    agent.signal(Signal::CONT)?;
    pace.go_at(stalled, RATE)?;
    nothing_lost(&agent.stop()?, 1_000 + 2 * stalled)
}

/// The shell has its prompt back, though detaching takes 0.1 s a link.
fn a_prompt_after_many_probes(node: &Node) -> Result<()> {
    const PROBES: usize = 120;
    let mut talking = Vec::new();
    for number in 0..10 {
        talking.push(on_own_library(node, &node.scratch().join(format!("cost-{number}")))?);
    }
    let agent = node.tlstap(&["trace", "-o", "none"])?.ready()?;
    // Whatever holds them, and however many to a descriptor.
    let probes = |talking: &[Talking]| -> Result<usize> {
        talking.iter().map(|one| probed::places(one.pid(), "libssl.so.3")).sum()
    };
    while probes(&talking)? < PROBES {
        let number = talking.len();
        ensure!(number < 40, "fewer than {PROBES} probes on {number} libraries");
        let new = on_own_library(node, &node.scratch().join(format!("cost-{number}")))?;
        deadline::until("the library to be probed", EVENT, || {
            Ok((probed::places(new.pid(), "libssl.so.3")? > 0).then_some(()))
        })?;
        talking.push(new);
    }
    let mark = agent.mark().to_owned();
    let ended = agent.stop_by(Signal::INT)?;
    ended.succeeded()?;
    ensure!(ended.took <= PROMPT, "the prompt came after {:?}", ended.took);
    deadline::until("the probes to be detached", Duration::from_secs(60), || {
        Ok(process::with_environment(&mark)?.is_empty().then_some(()))
    })
}

/// What a filter leaves out pays a part of what it would pay when traced: nothing for probes where
/// the wanted are named by their numbers, else for one hit a call, which tells that it is not wanted.
fn a_process_that_is_left_out(node: &Node) -> Result<()> {
    const ROUNDS: usize = 5;
    let mut pace = node.pace(&["--size", "256"])?;
    let other = node.pace(&[])?;
    let (own, other) = (pace.pid().to_string(), other.pid().to_string());
    let ways: [[&str; 2]; 5] = [
        ["--pid", &own],
        ["--pid", &other],
        ["--comm", "pace"],
        ["--comm", "nobody"],
        ["--exe", "/no/such/*"],
    ];
    // Of all rounds the best: other load of the machine only adds.
    let (mut plain, mut traced) = (i64::MAX, ways.map(|_| i64::MAX));
    for _ in 0..ROUNDS {
        for (way, traced) in ways.iter().zip(&mut traced) {
            let (before, during) = costs(node, &mut pace, way)?;
            plain = plain.min(before);
            *traced = during.min(*traced);
        }
    }
    let [of_pid, by_pid, of_comm, by_comm, by_exe] = traced.map(|traced| traced - plain);
    let told = format!(
        "ns a call: selected {of_pid} by --pid, {of_comm} by --comm, left out {by_pid} by --pid, \
         {by_comm} by --comm, {by_exe} by --exe"
    );
    eprintln!("{told}");
    ensure!(10 * by_pid <= 3 * of_pid, "{told}");
    ensure!(10 * by_comm.max(by_exe) <= 8 * of_comm, "{told}");
    Ok(())
}

/// What a call costs before, and while an agent with this filter runs.
fn costs(node: &Node, pace: &mut Pace, filter: &[&str]) -> Result<(i64, i64)> {
    deadline::until("the probes to be detached", Duration::from_secs(30), || {
        Ok((probed::places(pace.pid(), "libssl.so.3")? == 0).then_some(()))
    })?;
    let before = call_cost(pace)?;
    let agent = node.tlstap(&[&["trace", "-o", "none"], filter].concat())?.ready()?;
    let traced = call_cost(pace)?;
    agent.stop()?;
    Ok((before, traced))
}

/// Processor time of a call in nanoseconds, at best.
fn call_cost(pace: &mut Pace) -> Result<i64> {
    const CALLS: u64 = 20_000;
    pace.go(CALLS / 10)?;
    let mut best = i64::MAX;
    for _ in 0..5 {
        let cost = pace.go(CALLS)?;
        best = best.min(i64::try_from(cost.cpu.as_nanos())? / i64::try_from(cost.calls)?);
    }
    Ok(best)
}

fn on_own_library(node: &Node, folder: &Path) -> Result<Talking> {
    fs::create_dir_all(folder)?;
    node.talk()?.own_library(folder)?.start(b"", b"")
}

/// Waits until the agent has nothing to do any more.
fn settled(agent: &Agent) -> Result<()> {
    let mut load = process::Load::of(agent.pid())?;
    deadline::until("an idle agent", Duration::from_secs(10), || {
        thread::park_timeout(Duration::from_millis(200));
        let share = load.share()?;
        load = process::Load::of(agent.pid())?;
        Ok((share < 5_000).then_some(()))
    })
}

/// Waits until it stands still.
fn stopped(agent: &Agent) -> Result<()> {
    let path = format!("/proc/{}/stat", agent.pid());
    deadline::until("the agent to stand still", Duration::from_secs(5), || {
        // The state follows the command name, which is in parentheses.
        let stat = fs::read_to_string(&path)?;
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest.starts_with('T'));
        Ok(state.unwrap_or(false).then_some(()))
    })
}
