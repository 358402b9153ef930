//! `cargo xtask fuzz`: libFuzzer on each decoder, and on what else reads bytes of others; see `fuzz/`.
//!
//! One program has all targets. It shares with the static agent, and with the tests of releases, all that is
//! not our own, so that next to our own code only libFuzzer is compiled.

use std::{
    env, fs,
    num::NonZero,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::Mutex,
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    build, command,
    packages::{self, Package},
    toolchain, workspace,
};

/// A finding, too: one input may not take longer, in seconds, nor all of them more memory, in MiB. Inputs
/// are made longer slowly.
const LIMITS: [&str; 3] = ["-timeout=10", "-rss_limit_mb=2048", "-max_len=65536"];

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
    let fuzzer = Fuzzer { program: build()?, scratch: Scratch::new()? };
    let known = fuzzer.targets()?;
    let unknown = args.targets.iter().find(|target| !known.contains(target));
    if let Some(unknown) = unknown {
        bail!("no target is called {unknown}, there are {}", known.join(", "));
    }
    let chosen = if args.targets.is_empty() { &known } else { &args.targets };
    let left = Mutex::new(chosen.iter());
    let next = || left.lock().ok()?.next();
    let work = || -> Result<()> {
        while let Some(target) = next() {
            eprintln!("xtask: fuzzing {target} for {} s", args.seconds);
            fuzzer.run(target, args.seconds).with_context(|| {
                let again = format!("TLSTAP_FUZZ={target} {}", fuzzer.program.display());
                format!(
                    "what was found is in fuzz/artifacts/{target}: `{again} FILE` shows it again"
                )
            })?;
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

/// Compiles the program; gives its path. A stable compiler will do, without a sanitizer: what is fuzzed
/// has no unsafe code.
fn build() -> Result<PathBuf> {
    packages::ensure("fuzzing", &[Package::new("g++", "c++")])?;
    toolchain::prepare()?;
    let root = workspace::root();
    // The same versions of everything; cargo adds what only fuzzing needs.
    fs::copy(root.join("Cargo.lock"), root.join("fuzz/Cargo.lock"))
        .context("failed to write fuzz/Cargo.lock")?;
    let mut cargo = build::static_cargo("build")?;
    cargo.arg("--manifest-path").arg(root.join("fuzz/Cargo.toml"));
    cargo.env("RUSTC_WRAPPER", root.join("xtask/src/fuzz/instrument.sh"));
    command::run(&mut cargo)?;
    build::static_program("tlstap-fuzz")
}

/// The compiled program, and a folder in memory for it.
struct Fuzzer {
    program: PathBuf,
    scratch: Scratch,
}

impl Fuzzer {
    fn targets(&self) -> Result<Vec<String>> {
        let listed = command::output(&mut Command::new(&self.program))?;
        Ok(listed.lines().map(str::to_owned).collect())
    }

    fn run(&self, target: &str, seconds: u32) -> Result<()> {
        let fuzz = workspace::root().join("fuzz");
        let corpus = fuzz.join("corpus").join(target);
        let artifacts = fuzz.join("artifacts").join(target);
        fs::create_dir_all(&corpus)?;
        fs::create_dir_all(&artifacts)?;
        command::run(self.command(target).env("TLSTAP_FUZZ_SEEDS", &corpus))?;
        let mut fuzz = self.command(target);
        fuzz.arg(&corpus).arg(format!("-artifact_prefix={}/", artifacts.display()));
        fuzz.arg(format!("-max_total_time={seconds}")).args(LIMITS);
        // It tells a line for each input that is new: too much, of several at once.
        command::run(fuzz.args(["-print_final_stats=1", "-verbosity=0"]))
    }

    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("TLSTAP_FUZZ", target).env("TLSTAP_FUZZ_SCRATCH", &self.scratch.0);
        command
    }
}

/// A folder that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let within = if memory.is_dir() { memory.to_owned() } else { env::temp_dir() };
        let folder = within.join(format!("tlstap-fuzz-{}", process::id()));
        fs::create_dir_all(&folder)
            .with_context(|| format!("failed to create {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("xtask: failed to remove {}: {error}", self.0.display());
        }
    }
}
