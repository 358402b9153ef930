//! `cargo xtask image`: the agent's container image as one archive, for `docker load`, `podman load`
//! and `ctr images import`. No container runtime is needed, and no image to start from.

mod oci;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{build, workspace};

/// What it is called.
pub(crate) const NAME: &str = concat!("tlstap:", env!("CARGO_PKG_VERSION"));

#[derive(clap::Args)]
pub(crate) struct Args {
    /// What it is called; tlstap and the version if not given
    #[arg(long, value_name = "NAME:TAG")]
    tag: Option<String>,
}

pub(crate) fn image(args: &Args) -> Result<()> {
    let tag = args.tag.as_deref().unwrap_or(NAME);
    let file = make(tag)?;
    eprintln!("xtask: {tag} is in {}", file.display());
    eprintln!("xtask: docker load --input {0}, or ctr images import {0}", file.display());
    Ok(())
}

/// Builds the agent, and puts it into an image; gives the archive's path.
pub(crate) fn make(tag: &str) -> Result<PathBuf> {
    let program = build::agent_static()?;
    let program = fs::read(&program).context("failed to read the agent")?;
    let archive = oci::of(&program, tag)?;
    let folder = workspace::target()?.join("image");
    fs::create_dir_all(&folder).context("failed to make a folder for the image")?;
    let file = folder.join(format!("{}.tar", tag.replace(['/', ':'], "-")));
    fs::write(&file, archive).with_context(|| format!("failed to write {}", file.display()))?;
    Ok(file)
}
