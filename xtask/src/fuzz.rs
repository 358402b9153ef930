//! `cargo xtask fuzz`: libFuzzer on each decoder, by cargo-fuzz; see `fuzz/`.

use std::{env, fs, num::NonZero, process::Command, sync::Mutex, thread};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    command,
    packages::{self, Package},
    toolchain, workspace,
};

/// A finding, too: one input may not take longer, in seconds, nor all of them more memory, in MiB.
const LIMITS: [&str; 3] = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=16384"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each target
    #[arg(long, default_value_t = 600)]
    seconds: u32,
    /// How many targets at a time; one on each processor if not given
    #[arg(long)]
    jobs: Option<usize>,
    /// Only these targets
    targets: Vec<String>,
}

impl Args {
    /// Every target for so long, so many at a time.
    pub(crate) const fn all(seconds: u32, jobs: usize) -> Self {
        Self { seconds, jobs: Some(jobs), targets: Vec::new() }
    }
}

pub(crate) fn fuzz(args: &Args) -> Result<()> {
    packages::ensure("fuzzing", &[Package::new("g++", "c++")])?;
    let known = targets()?;
    let unknown = args.targets.iter().find(|target| !known.contains(target));
    if let Some(unknown) = unknown {
        bail!("no target is called {unknown}, there are {}", known.join(", "));
    }
    let chosen = if args.targets.is_empty() { &known } else { &args.targets };
    toolchain::prepare()?;
    // Together they would wait for each other's.
    command::run(cargo_fuzz()?.args(["fuzz", "build", "--sanitizer", "none"]))?;
    let left = Mutex::new(chosen.iter());
    let next = || left.lock().ok()?.next();
    let work = || -> Result<()> {
        while let Some(target) = next() {
            eprintln!("xtask: fuzzing {target} for {} s", args.seconds);
            run(target, args.seconds)
                .with_context(|| format!("what was found is in fuzz/artifacts/{target}"))?;
        }
        Ok(())
    };
    let by_processors = || thread::available_parallelism().map_or(1, NonZero::get);
    let workers = args.jobs.unwrap_or_else(by_processors);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_panic| anyhow!("a worker panicked"))?)
    })
}

fn run(target: &str, seconds: u32) -> Result<()> {
    let mut fuzz = cargo_fuzz()?;
    // Without a sanitizer a stable compiler will do: the decoders have no unsafe code.
    fuzz.args(["fuzz", "run", "--sanitizer", "none", target, "--"]);
    fuzz.arg(format!("-max_total_time={seconds}")).args(LIMITS);
    // It tells a line for each input that is new: too much, of several at once.
    fuzz.args(["-print_final_stats=1", "-verbosity=0"]);
    command::run(&mut fuzz)
}

fn cargo_fuzz() -> Result<Command> {
    let mut fuzz = Command::new(packages::cargo_tool("cargo-fuzz")?);
    fuzz.current_dir(workspace::root());
    if let Some(cargo) = env::var_os("CARGO") {
        fuzz.env("CARGO", cargo);
    }
    Ok(fuzz)
}

/// The names of the files.
fn targets() -> Result<Vec<String>> {
    let folder = workspace::root().join("fuzz/fuzz_targets");
    let mut targets = Vec::new();
    for file in fs::read_dir(&folder).context("failed to read fuzz/fuzz_targets")? {
        targets.extend(file?.path().file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    targets.sort_unstable();
    Ok(targets)
}
