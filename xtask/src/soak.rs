//! `cargo xtask soak NAME`: a test of the suite that runs for seconds there, for as long as it takes to
//! believe it.

use anyhow::{Result, bail};

use crate::{build, command, test};

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Load,
}

#[derive(clap::Subcommand)]
enum Load {
    /// Programs of Go whose stacks grow and shrink, with garbage collected all the time
    Go {
        /// How long
        #[arg(long, default_value_t = 600)]
        seconds: u32,
    },
    /// Containers that come and go, some hundreds in an hour, while the agent may not grow
    Churn {
        /// How long
        #[arg(long, default_value_t = 3_600)]
        seconds: u32,
    },
    /// Agents that are killed at any moment, under load
    Kill {
        /// How many
        #[arg(long, default_value_t = 200)]
        times: u32,
        /// Where random numbers begin, as a run before has told it
        #[arg(long)]
        seed: Option<u64>,
    },
}

/// What tests read: `tests/src/setting.rs`.
const SECONDS: &str = "TLSTAP_SOAK_SECONDS";
const TIMES: &str = "TLSTAP_SOAK_TIMES";
const SEED: &str = "TLSTAP_SOAK_SEED";

impl Load {
    /// The test of the suite, and what it is told.
    fn test(&self) -> (&'static str, Vec<(&'static str, String)>) {
        match self {
            Self::Go { seconds } => ("go::storm", vec![(SECONDS, seconds.to_string())]),
            Self::Churn { seconds } => ("churn::", vec![(SECONDS, seconds.to_string())]),
            Self::Kill { times, seed } => {
                let seed = seed.map(|seed| (SEED, seed.to_string()));
                ("kills::", [(TIMES, times.to_string())].into_iter().chain(seed).collect())
            }
        }
    }
}

pub(crate) fn soak(args: &Args) -> Result<()> {
    if !command::is_root() {
        bail!("this loads BPF programs: run it as root");
    }
    test::test_packages()?;
    let agent = build::agent_static()?;
    let (test, told) = args.what.test();
    command::run(
        command::cargo()
            .args(["test", "--workspace", "--test", "suite", "--", test])
            .env("TLSTAP_BIN", agent)
            .envs(told),
    )
}
