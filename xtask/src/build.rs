//! `cargo xtask build`: the release agent.

use std::{env::consts::ARCH, path::PathBuf};

use anyhow::Result;

use crate::{command, toolchain, workspace};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Link the C library in, so that one file runs on any node
    #[arg(long = "static")]
    fixed: bool,
}

pub(crate) fn build(args: &Args) -> Result<()> {
    let program = if args.fixed { agent_static()? } else { agent()? };
    eprintln!("xtask: built {}", program.display());
    Ok(())
}

/// The agent, linked as usual; gives its path.
pub(crate) fn agent() -> Result<PathBuf> {
    toolchain::prepare()?;
    command::run(command::cargo().args(["build", "--release", "--package", "tlstap"]))?;
    Ok(workspace::target()?.join("release/tlstap"))
}

/// The GNU target, because musl's may not be at hand. A target directory of its own keeps the
/// flags from rebuilding everything each time.
fn agent_static() -> Result<PathBuf> {
    toolchain::prepare()?;
    let triple = format!("{ARCH}-unknown-linux-gnu");
    let target = workspace::target()?.join("static");
    command::run(
        command::cargo()
            .args(["build", "--release", "--package", "tlstap", "--target", &triple])
            .arg("--target-dir")
            .arg(&target)
            .env("RUSTFLAGS", "-C target-feature=+crt-static"),
    )?;
    Ok(target.join(triple).join("release/tlstap"))
}
