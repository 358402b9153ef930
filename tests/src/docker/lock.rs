//! One suite at a time: two would start a daemon each, and count each other's traffic.

use std::{
    fs::{File, TryLockError},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::cache;
use crate::deadline;

/// As long as a whole run of another suite.
const LIMIT: Duration = Duration::from_secs(900);

/// Held until dropped, or until the process ends in whatever way.
pub(super) struct Lock(#[expect(dead_code, reason = "held, not used")] File);

impl Lock {
    /// Waits for its turn.
    pub(super) fn take() -> Result<Self> {
        let path = cache::folder()?.join("lock");
        let file =
            File::create(&path).with_context(|| format!("failed to open {}", path.display()))?;
        if try_lock(&file)?.is_none() {
            eprintln!("waiting for another run of the suite to end");
        }
        deadline::until("the lock of the suite", LIMIT, || try_lock(&file))?;
        Ok(Self(file))
    }
}

fn try_lock(file: &File) -> Result<Option<()>> {
    match file.try_lock() {
        Ok(()) => Ok(Some(())),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
