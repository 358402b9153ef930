//! `cargo xtask build`: the release agent.

use std::{env::consts::ARCH, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

use crate::{command, toolchain, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Link the C library in, so that one file runs on any node
    #[arg(long = "static")]
    fixed: bool,
    /// Copy it to this path, too
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
}

pub(crate) fn build(args: &Args) -> Result<()> {
    let program = if args.fixed { agent_static()? } else { agent()? };
    eprintln!("xtask: built {}", program.display());
    if let Some(into) = &args.into {
        fs::copy(&program, into).with_context(|| format!("failed to write {}", into.display()))?;
    }
    Ok(())
}

/// The agent, linked as usual; gives its path.
pub(crate) fn agent() -> Result<PathBuf> {
    toolchain::prepare()?;
    command::run(command::cargo().args(["build", "--release", "--package", "tlstap"]))?;
    Ok(workspace::target()?.join("release/tlstap"))
}

/// The agent with the C library in it, and without the tables of debuggers, which are most of it; gives
/// its path.
///
/// The GNU target, because musl's may not be at hand. A target directory of its own keeps the
/// flags from rebuilding everything each time.
pub(crate) fn agent_static() -> Result<PathBuf> {
    toolchain::prepare()?;
    command::run(static_cargo("build")?.args(AGENT))?;
    static_program("tlstap")
}

/// Where a program is that was linked so.
pub(crate) fn static_program(name: &str) -> Result<PathBuf> {
    Ok(static_target()?.join(triple()).join("release").join(name))
}

/// Of the workspace only the agent's package.
pub(crate) const AGENT: [&str; 2] = ["--package", "tlstap"];

/// Cargo, for a release of something that is linked so.
pub(crate) fn static_cargo(verb: &str) -> Result<Command> {
    let mut cargo = command::cargo();
    cargo
        .args([verb, "--release", "--target", &triple()])
        .args(["--config", "profile.release.debug=false", "--target-dir"])
        .arg(static_target()?)
        .env("RUSTFLAGS", "-C target-feature=+crt-static");
    Ok(cargo)
}

fn triple() -> String {
    format!("{ARCH}-unknown-linux-gnu")
}

fn static_target() -> Result<PathBuf> {
    Ok(workspace::target()?.join("static"))
}
