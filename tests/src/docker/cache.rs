//! Where the suite keeps what is slow to make, between runs.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The folder; `TLSTAP_TESTS_CACHE` moves it. It must be on a disk that overlayfs can use.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = env::var_os("TLSTAP_TESTS_CACHE")
        .map_or_else(|| PathBuf::from("/var/lib/tlstap-tests"), PathBuf::from);
    fs::create_dir_all(&folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    Ok(folder)
}

/// Makes a folder that is not there yet. Only a whole one gets the name that is looked for; another run
/// may have been faster.
pub(crate) fn whole(folder: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let scratch = tempfile::tempdir_in(folder.parent().context("no parent")?)?;
    let half = scratch.path().join("half");
    fs::create_dir(&half)?;
    make(&half)?;
    match fs::rename(half, folder) {
        Err(_) if folder.exists() => Ok(()),
        renamed => Ok(renamed?),
    }
}
