//! Where things lie: the checkout, the tools that xtask installs, the built programs.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// The tools that `agent/build.rs` uses; it looks here, whatever `CARGO_TARGET_DIR` says.
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}

/// Where cargo puts what it builds, per profile: this program lies in `debug` below it.
pub(crate) fn target() -> Result<PathBuf> {
    let program = env::current_exe().context("failed to find the path of xtask")?;
    let target = program.parent().and_then(Path::parent);
    Ok(target.context("xtask lies in no target directory; start it by cargo")?.to_owned())
}
