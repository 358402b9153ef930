//! Issue 9: containers come and go for as long as one likes, and the agent stays as it is: every request is
//! told or missed aloud, and neither memory nor descriptors nor what it has in the kernel grows.

mod generation;
mod told;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{
    agent::Agent,
    bpf::Objects,
    node::Node,
    process,
    samples::Quantity,
    scrape::{ANYWHERE, Site},
    setting,
};

use generation::Breed;
use told::{Outcome, Told};

crate::tests![of_containers];

/// If `cargo xtask soak churn` does not ask for more.
const SHORT: u64 = 45;

/// How long the agent keeps probes on files that nobody uses, and some more: only a run that is much
/// longer can show that those of libraries that nobody has seen before go again.
const KEPT: Duration = Duration::from_secs(200);

/// What may grow, and by how much.
struct Bounds {
    /// KiB of anonymous memory per 100 containers.
    memory_kib: f64,
    /// Descriptors, and objects in the kernel, per 100 containers: any that a container leaves makes 100.
    objects: f64,
    /// How many times the processor time an event may take at the end that it takes at the beginning.
    dearer: f64,
}

/// What the allocator takes for good in a run of some minutes is below it. The processor of a busy
/// machine differs by a quarter from one minute to the next.
const LONG: Bounds = Bounds { memory_kib: 1024.0, objects: 5.0, dearer: 1.3 };

/// Processes that ended less than 90 seconds ago are still remembered, with some dozens for each container,
/// and the first hundred containers get series of metrics of their own. What others start on the node
/// meanwhile is probed too, and stays so for longer than such a run.
const BRIEF: Bounds = Bounds { memory_kib: 4096.0, objects: 60.0, dearer: 2.0 };

fn of_containers(node: &Node) -> Result<()> {
    let time = Duration::from_secs(setting::number(setting::SECONDS, SHORT)?);
    let breed = Breed::new(node.docker()?)?;
    let file = node.scratch().join("churn.json");
    let mut churn = Churn::start(node, &file)?;
    let long = time > 2 * KEPT;
    // Also what is only made once is warm after a few.
    let warm = if long { KEPT } else { time / 4 };
    while churn.begun.elapsed() < time {
        churn.generation(&breed, long)?;
        if churn.warm.is_none() && churn.begun.elapsed() >= warm {
            churn.warm = Some(churn.containers);
        }
    }
    churn.end(if long { &LONG } else { &BRIEF })?;
    Ok(std::fs::remove_file(&file)?)
}

/// An agent, and what it held after each generation.
struct Churn {
    agent: Agent,
    site: Site,
    before: Objects,
    told: Told,
    begun: Instant,
    containers: u32,
    /// How many there were when it was warm.
    warm: Option<u32>,
    outcome: Outcome,
    held: Held,
}

/// By containers so far.
struct Held {
    memory: Quantity,
    descriptors: Quantity,
    objects: [Quantity; 3],
    series: Quantity,
    cpu: Quantity,
    events: Quantity,
}

impl Churn {
    fn start(node: &Node, file: &Path) -> Result<Self> {
        let path = file.to_str().context("a path that is not UTF-8")?;
        let arguments = [&["trace", "-o", "json", "--write", path], &ANYWHERE[..]].concat();
        let before = Objects::now()?;
        let agent = node.tlstap(&arguments)?.ready()?;
        let site = Site::of(&agent)?;
        let held = Held {
            memory: Quantity::new("KiB of anonymous memory"),
            descriptors: Quantity::new("descriptors"),
            objects: ["BPF programs", "BPF maps", "BPF links"].map(Quantity::new),
            series: Quantity::new("lines of metrics"),
            cpu: Quantity::new("seconds of processor time"),
            events: Quantity::new("events"),
        };
        let (told, begun) = (Told::open(file)?, Instant::now());
        let (containers, warm, outcome) = (0, None, Outcome::default());
        Ok(Self { agent, site, before, told, begun, containers, warm, outcome, held })
    }

    fn generation(&mut self, breed: &Breed, own: bool) -> Result<()> {
        let (asked, containers) = breed.live(own)?;
        self.containers += containers;
        let outcome = self.told.settle(&self.agent, &asked)?;
        self.outcome.own.add(&outcome.own);
        self.outcome.others.add(&outcome.others);
        self.sample()
    }

    fn sample(&mut self) -> Result<()> {
        let (work, pid) = (f64::from(self.containers), self.agent.pid());
        let page = self.site.metrics()?;
        let held = &mut self.held;
        held.memory.push(work, count(process::anonymous_kib(pid)?)?);
        held.descriptors.push(work, count(process::descriptors(pid)?.try_into()?)?);
        let objects = Objects::now()?.since(&self.before).counts();
        for (quantity, objects) in held.objects.iter_mut().zip(objects) {
            quantity.push(work, count(objects.try_into()?)?);
        }
        held.series.push(work, count(page.text.lines().count().try_into()?)?);
        held.cpu.push(work, page.sum("process_cpu_seconds_total", &[]));
        held.events.push(work, page.sum("tlstap_events_total", &[]));
        Ok(())
    }

    /// Holds all to be flat behind the beginning.
    fn end(self, bounds: &Bounds) -> Result<()> {
        let Self { agent, held, containers, outcome, warm, begun, .. } = self;
        let Outcome { own, others } = outcome;
        let time = begun.elapsed();
        eprintln!(
            "{containers} containers in {time:.0?}: {} ends of requests told, {} missed aloud; \
             by libraries that nobody had seen {} told, {} missed aloud",
            others.told, others.missing, own.told, own.missing
        );
        let warm = f64::from(warm.context("too short")?);
        let [memory, descriptors, series] =
            [&held.memory, &held.descriptors, &held.series].map(|quantity| quantity.from(warm));
        let objects = held.objects.each_ref().map(|quantity| quantity.from(warm));
        let [first, last] = dear(&held.cpu.from(warm), &held.events.from(warm))?;
        for quantity in [&memory, &descriptors, &series].into_iter().chain(&objects) {
            eprintln!("  {quantity}");
        }
        eprintln!(
            "  µs of processor time per event: {first:.0} in the first third, {last:.0} in the last"
        );
        memory.flat(bounds.memory_kib)?;
        descriptors.flat(bounds.objects)?;
        objects.iter().try_for_each(|quantity| quantity.flat(bounds.objects))?;
        ensure!(last <= first * bounds.dearer, "an event took {first} µs, and {last} at the end");
        ensure!(others.missing * 1_000 <= others.told, "{others:?}");
        // A program of a few milliseconds may be over before its library is probed.
        ensure!(own.missing <= own.told, "by libraries that nobody had seen: {own:?}");
        agent.stop().map(drop)
    }
}

fn count(number: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(number)?))
}

/// Microseconds of processor time that an event took in the first and in the last third.
fn dear(cpu: &Quantity, events: &Quantity) -> Result<[f64; 2]> {
    let [(from, _), (to, _)] = cpu.ends().context("no points")?;
    let third = (to - from) / 3.0;
    let of = |begin: f64, end: f64| -> Result<f64> {
        let grown = |quantity: &Quantity| quantity.grown(begin, end).context("too few points");
        Ok(1e6 * grown(cpu)? / grown(events)?)
    };
    Ok([of(from, from + third)?, of(to - third, to)?])
}
