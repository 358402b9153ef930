//! `cargo xtask run [-- ARGS]`: builds the agent and becomes it.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::{Context as _, Result, bail};

use crate::{build, command};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments of the agent
    #[arg(last = true)]
    agent: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let agent = build::agent()?;
    let mut agent = if command::is_root() { Command::new(agent) } else { with_sudo(agent.into())? };
    Err(agent.args(&args.agent).exec()).context("failed to start the agent")
}

/// The program as root; the rest of xtask stays the user.
pub(crate) fn with_sudo(program: OsString) -> Result<Command> {
    if command::find("sudo").is_none() {
        bail!("the agent needs root to load BPF programs, and there is no sudo: run this as root");
    }
    let mut sudo = Command::new("sudo");
    sudo.arg(program);
    Ok(sudo)
}
