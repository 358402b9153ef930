//! (c) What an event costs, and what memory the agent takes, by the number of connections and of
//! processes; and how long it takes to start.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{
    goals::{
        Bound::{AtLeast, AtMost},
        Goal,
    },
    ground::Ground,
    library,
    process::{Core, Running, on},
    stats::Spread,
    table::Table,
    tracer::{self, Captured, Tracer},
};

const LIMIT: Duration = Duration::from_secs(120);
const MESSAGE: u64 = 64;
/// The agent's queue is empty that long after the last call.
const SETTLED: Duration = Duration::from_millis(100);

/// How many connections, in how many processes. Two at least, so that both fit into the limit of
/// open files.
const QUICK: [(u64, u64); 2] = [(10, 2), (1_000, 2)];
const SIZES: [(u64, u64); 8] =
    [(2, 2), (10, 2), (100, 2), (1_000, 2), (10_000, 2), (10, 10), (100, 100), (500, 500)];

/// What one size gave.
struct Scaled {
    connections: u64,
    processes: u64,
    /// Nanoseconds a call, without and with the agent.
    plain: f64,
    traced: f64,
    agent: f64,
    resident_kib: u64,
    ready: Duration,
    expected: u64,
    captured: Captured,
}

pub(super) fn measure(ground: &Ground, quick: bool) -> Result<(Value, Vec<Goal>)> {
    let mut all = Vec::new();
    for &(connections, processes) in if quick { &QUICK[..] } else { &SIZES } {
        eprintln!("xtask: {connections} connections in {processes} processes");
        all.push(scaled(ground, connections, processes, if quick { 2 } else { 5 })?);
    }
    print(&all)?;
    Ok((all.iter().map(Scaled::json).collect(), goals(&all)))
}

/// What is to hold however many there are.
fn goals(all: &[Scaled]) -> Vec<Goal> {
    let of = |wanted: u64| all.iter().find(|one| one.connections == wanted && one.processes == 2);
    let grows = |cost: fn(&Scaled) -> f64| Some(cost(of(10_000)?) / cost(of(10)?));
    let memory = |connections| Some(of(connections)?.resident_kib as f64 / 1024.0);
    let mut goals = vec![
        Goal::new("added a call, 10,000 connections to 10", grows(Scaled::added), AtMost(1.2)),
        Goal::new("agent's processor a call, likewise", grows(|one| one.agent), AtMost(1.2)),
        Goal::new("agent's memory at 10 connections, MiB", memory(10), AtMost(60.0)),
        Goal::new("agent's memory at 10,000 connections, MiB", memory(10_000), AtMost(150.0)),
    ];
    for one in all {
        let Scaled { connections, processes, .. } = one;
        let name = format!("{connections} connections, {processes} processes: captured");
        goals.push(Goal::new(name, Some(one.share()), AtLeast(0.9995)));
    }
    goals
}

/// The program that makes TLS calls when told to.
struct Pace {
    running: Running,
    calls: u64,
}

impl Pace {
    fn start(ground: &Ground, connections: u64, processes: u64) -> Result<Self> {
        let mut pace = on(Core::Server, ground.path("pace"));
        pace.args(["--connections", &connections.to_string()]);
        pace.args(["--processes", &processes.to_string()]);
        pace.args(["--size", &MESSAGE.to_string()]);
        pace.env("LD_LIBRARY_PATH", ground.path("server"));
        let mut running = Running::start("pace", pace)?;
        running.says("ready", LIMIT)?;
        Ok(Self { running, calls: (2 * connections).max(20_000) })
    }

    /// Makes calls, each connection at least one; nanoseconds of processor time a call.
    fn run(&mut self) -> Result<f64> {
        self.running.tell(&self.calls.to_string())?;
        let line = self.running.says("done ", LIMIT)?;
        let field = |name: &str| {
            let words = line.split_whitespace().filter_map(|word| word.split_once('='));
            let mut of_name = words.filter(|(known, _)| *known == name);
            let (_, value) = of_name.next().with_context(|| format!("no {name}: {line}"))?;
            value.parse::<u64>().with_context(|| format!("odd {name}: {line}"))
        };
        self.calls = field("calls")?;
        Ok(field("cpu_ns")? as f64 / self.calls as f64)
    }

    fn rounds(&mut self, rounds: usize) -> Result<f64> {
        let costs = (0..rounds).map(|_| self.run()).collect::<Result<Vec<_>>>()?;
        Ok(Spread::of(costs).context("no rounds")?.median)
    }
}

fn scaled(ground: &Ground, connections: u64, processes: u64, rounds: usize) -> Result<Scaled> {
    let mut pace = Pace::start(ground, connections, processes)?;
    pace.run()?;
    let before = pace.rounds(rounds)?;
    let tracer = tracer::quiet(ground, "pace")?;
    let ready = tracer.ready_after;
    // The first calls tell the agent of the connections.
    pace.run()?;
    let spent = settled(&tracer)?;
    let traced = pace.rounds(rounds)?;
    let agent = settled(&tracer)?.saturating_sub(spent) as f64;
    let counted = pace.calls * rounds as u64;
    let resident_kib = tracer.resident_kib()?;
    let captured = tracer.stop()?;
    library::unprobed(pace.running.pid(), &ground.library())?;
    let after = pace.rounds(rounds)?;
    Ok(Scaled {
        connections,
        processes,
        plain: f64::midpoint(before, after),
        traced,
        agent: agent / counted as f64,
        resident_kib,
        ready,
        expected: (counted + pace.calls) * MESSAGE,
        captured,
    })
}

/// What the agent has spent when it has done its work.
fn settled(tracer: &Tracer) -> Result<u64> {
    loop {
        let before = tracer.cpu_ns()?;
        std::thread::sleep(SETTLED);
        let after = tracer.cpu_ns()?;
        // A few per cent of a processor is what it takes for other reasons.
        if u128::from(after - before) < SETTLED.as_nanos() / 20 {
            return Ok(after);
        }
    }
}

impl Scaled {
    fn added(&self) -> f64 {
        self.traced - self.plain
    }

    fn share(&self) -> f64 {
        self.captured.bytes.unwrap_or(0) as f64 / self.expected as f64
    }

    fn json(&self) -> Value {
        json!({
            "connections": self.connections,
            "processes": self.processes,
            "untraced_ns_per_call": self.plain,
            "added_ns_per_call": self.added(),
            "agent_ns_per_call": self.agent,
            "agent_resident_kib": self.resident_kib,
            "ready_ms": self.ready.as_secs_f64() * 1e3,
            "captured": self.share(),
            "note": self.captured.note,
        })
    }
}

fn print(all: &[Scaled]) -> Result<()> {
    let title = "What a call costs (64 B messages), and what the agent takes, by size";
    let header = [
        "connections",
        "processes",
        "untraced, ns",
        "added, ns",
        "agent, ns",
        "agent's memory, MiB",
        "ready after, ms",
        "captured",
    ];
    let mut table = Table::new(title, header);
    for one in all {
        table.row(vec![
            one.connections.to_string(),
            one.processes.to_string(),
            format!("{:.0}", one.plain),
            format!("{:.0}", one.added()),
            format!("{:.0}", one.agent),
            format!("{:.1}", one.resident_kib as f64 / 1024.0),
            format!("{:.0}", one.ready.as_secs_f64() * 1e3),
            format!("{:.3}", one.share()),
        ]);
    }
    table.print()
}
