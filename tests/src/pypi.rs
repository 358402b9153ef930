//! Packages of PyPI for the system's Python, kept between runs.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{docker::cache, tool};

/// A folder for `PYTHONPATH` with a package, `NAME==VERSION`.
pub fn package(pinned: &str) -> Result<PathBuf> {
    let folder = cache::folder()?.join(format!("pypi-{pinned}"));
    if !folder.exists() {
        let half = tempfile::tempdir_in(cache::folder()?)?;
        let into = half.path().join("package");
        let mut install = tool::command("pip3", ["install", "--quiet", "--no-deps", "--target"])?;
        install.arg(&into).arg(pinned);
        tool::run(install).with_context(|| format!("failed to install {pinned}"))?;
        // Only a whole folder gets the name that is looked for.
        fs::rename(into, &folder)?;
    }
    Ok(folder)
}
