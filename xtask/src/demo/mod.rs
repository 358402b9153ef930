//! `cargo xtask demo`: a TLS server and its client in a throw-away container, and what the agent
//! on the host sees of them. Needs no Docker, touches no network, leaves nothing behind.

mod container;
mod tracer;

use std::{env, os::unix::process::CommandExt as _};

use anyhow::{Context as _, Result};

use crate::{
    build, command,
    packages::{self, Package},
    run, workspace,
};
use container::Container;
use tracer::Tracer;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Show the agent that was built before
    #[arg(long)]
    no_build: bool,
}

pub(crate) fn demo(args: &Args) -> Result<()> {
    let agent =
        if args.no_build { workspace::target()?.join("release/tlstap") } else { build::agent()? };
    if !command::is_root() {
        let xtask = env::current_exe().context("failed to find the path of xtask")?;
        let mut again = run::with_sudo(xtask.into())?;
        return Err(again.args(["demo", "--no-build"]).exec()).context("failed to start sudo");
    }
    packages::ensure(
        "showing a container",
        &[
            Package::new("curl", "curl"),
            Package::new("iproute2", "ip"),
            Package::new("openssl", "openssl"),
        ],
    )?;
    let mut container = Container::start()?;
    let mut tracer = Tracer::start(&agent, container.records())?;
    if tracer.wait_until_ready() {
        container.send_requests()?;
    }
    tracer.wait()
}
