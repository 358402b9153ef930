//! `cargo xtask soak NAME`: a test of the suite that runs for seconds there, for as long as it takes to
//! believe it.

use anyhow::{Result, bail};

use crate::{build, command, test};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What is put under load
    what: Load,
    /// How long
    #[arg(long, default_value_t = 600)]
    seconds: u32,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Load {
    /// Programs of Go whose stacks grow and shrink, with garbage collected all the time
    Go,
}

impl Load {
    /// The test of the suite.
    const fn test(self) -> &'static str {
        match self {
            Self::Go => "go::storm",
        }
    }
}

pub(crate) fn soak(args: &Args) -> Result<()> {
    if !command::is_root() {
        bail!("this loads BPF programs: run it as root");
    }
    test::test_packages()?;
    let agent = build::agent()?;
    command::run(
        command::cargo()
            .args(["test", "--package", "tlstap-tests", "--test", "suite", "--"])
            .arg(args.what.test())
            .env("TLSTAP_BIN", agent)
            .env("TLSTAP_SOAK_SECONDS", args.seconds.to_string()),
    )
}
