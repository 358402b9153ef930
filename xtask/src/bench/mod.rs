//! `cargo xtask bench`: what the agent costs, beside the tools that people use today and beside
//! the least that probes can cost. Tables go to standard output, everything into a JSON file.
//!
//! Traffic stays on the loopback interface; files stay in the target directory; the programs that
//! it starts end with it, however it ends.

mod endtoend;
mod goals;
mod ground;
mod library;
mod load;
mod micro;
mod process;
mod scaling;
mod server;
mod sslsniff;
mod stats;
mod table;
mod tracer;

use std::{fs, path::PathBuf, thread, time::Instant};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::{
    build, command,
    packages::{self, Package},
};
use goals::Goal;
use ground::Ground;
use load::Case;
use tracer::Variant;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// A minute: one round, the plainest load, few tracers and sizes
    #[arg(long)]
    quick: bool,
    /// Only this part; may be repeated
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Only this tracer; may be repeated
    #[arg(long, value_enum)]
    tracer: Vec<Variant>,
    /// Only load whose name contains this, such as 16KiB or paced; may be repeated
    #[arg(long, value_name = "TEXT")]
    case: Vec<String>,
    /// How often each tracer takes its turn
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of each run of a client
    #[arg(long)]
    seconds: Option<u32>,
    /// Fail when a goal is missed
    #[arg(long)]
    check: bool,
    /// Measure this agent instead of building it
    #[arg(long, value_name = "FILE")]
    agent: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One hit of a probe
    Micro,
    /// A server under load
    Load,
    /// Many connections, many processes
    Scale,
}

/// What is to be run under load.
struct Plan {
    rounds: u32,
    seconds: f64,
    variants: Vec<Variant>,
    cases: Vec<Case>,
}

pub(crate) fn bench(args: &Args) -> Result<()> {
    if !command::is_root() {
        bail!("the bench loads BPF programs: run this as root");
    }
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        bail!("the bench needs two processors: one for the server, one for all others");
    }
    bench_packages()?;
    let agent = args.agent.clone().map_or_else(build::agent, Ok)?;
    let (began, before) = (Instant::now(), load_average());
    eprintln!("xtask: load average {before}; other programs at work make the numbers worse");
    tracer::adopt()?;
    let ground = Ground::prepare(agent, args.loads(Variant::Sslsniff))?;
    let (mut results, mut goals) = (Map::new(), Vec::new());
    results.insert("load_average".into(), json!({"before": before}));
    for part in Part::value_variants() {
        if args.measures(*part) {
            let (name, result, more) = part.measure(&ground, args)?;
            results.insert(name.to_owned(), result);
            goals.extend(more);
        }
    }
    results.insert("seconds".into(), json!(began.elapsed().as_secs()));
    results.insert("goals".into(), goals::json(&goals));
    write(&Value::Object(results))?;
    goals::print(&goals)?;
    if args.check { goals::check(&goals) } else { Ok(()) }
}

impl Part {
    fn measure(self, ground: &Ground, args: &Args) -> Result<(&'static str, Value, Vec<Goal>)> {
        let (name, (result, goals)) = match self {
            Self::Micro => ("micro", (micro::measure(ground, args.quick)?, Vec::new())),
            Self::Load => ("load", endtoend::measure(ground, &plan(args, ground))?),
            Self::Scale => ("scale", scaling::measure(ground, args.quick)?),
        };
        Ok((name, result, goals))
    }
}

impl Args {
    fn measures(&self, part: Part) -> bool {
        self.part.is_empty() || self.part.contains(&part)
    }

    /// Whether a tracer is wanted under load.
    fn loads(&self, variant: Variant) -> bool {
        const QUICK: [Variant; 3] = [Variant::None, Variant::Bpftrace, Variant::Floor];
        let wanted = match self.tracer.as_slice() {
            [] => !self.quick || QUICK.contains(&variant),
            chosen => chosen.contains(&variant),
        };
        wanted && self.measures(Part::Load)
    }
}

fn plan(args: &Args, ground: &Ground) -> Plan {
    let can_run = |variant: Variant| variant != Variant::Sslsniff || ground.sslsniff.is_some();
    let all = Variant::value_variants().iter().copied();
    let all = all.filter(|variant| args.loads(*variant) && can_run(*variant));
    Plan {
        rounds: args.rounds.unwrap_or(if args.quick { 1 } else { 3 }),
        seconds: f64::from(args.seconds.unwrap_or(1)),
        variants: all.collect(),
        cases: endtoend::cases(&args.case, args.quick),
    }
}

fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn write(results: &Value) -> Result<()> {
    let file = ground::folder()?.join("result.json");
    let text = serde_json::to_string_pretty(results).context("failed to make JSON")?;
    fs::write(&file, text + "\n").with_context(|| format!("failed to write {}", file.display()))?;
    eprintln!("xtask: wrote {}", file.display());
    Ok(())
}

/// What is measured, what measures, and what it is compiled with.
fn bench_packages() -> Result<()> {
    packages::ensure(
        "measuring",
        &[
            Package::new("binutils", "objdump"),
            Package::new("bpftrace", "bpftrace"),
            Package::new("gcc", "cc"),
            Package::new("libc6-dev", "/usr/include/stdio.h"),
            Package::new("libssl-dev", "/usr/include/openssl/ssl.h"),
            Package::new("linux-libc-dev", "/usr/include/linux/bpf.h"),
            Package::new("nghttp2-client", "h2load"),
            Package::new("nginx", "nginx"),
            Package::new("openssl", "openssl"),
            Package::new("wrk", "wrk"),
        ],
    )
}
