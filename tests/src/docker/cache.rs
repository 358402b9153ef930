//! Where the suite keeps what is slow to make, between runs.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result};

/// The folder; `TLSTAP_TESTS_CACHE` moves it. It must be on a disk that overlayfs can use.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = env::var_os("TLSTAP_TESTS_CACHE")
        .map_or_else(|| PathBuf::from("/var/lib/tlstap-tests"), PathBuf::from);
    fs::create_dir_all(&folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    Ok(folder)
}
