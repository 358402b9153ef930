//! Processes in a root directory of their own, with no container runtime behind them.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{child::Child, docker::cache, tool};

const LIMIT: Duration = Duration::from_secs(20);

/// A folder on the disk of the containers: overlays cannot lie on every file system.
pub fn folder() -> Result<TempDir> {
    Ok(tempfile::tempdir_in(cache::folder()?)?)
}

/// A process that waits in its root; killed when dropped.
pub struct Rooted(Child);

impl Rooted {
    /// Starts one by chroot(2).
    pub fn chroot(root: &Path) -> Result<Self> {
        Self::start(&[], "", "chroot", root, "")
    }

    /// Starts one by pivot_root(2), in namespaces that `unshare` makes by these flags.
    pub fn pivot(flags: &[&str], root: &Path) -> Result<Self> {
        Self::start(flags, "", "pivot", root, "")
    }

    /// Starts the busybox of a root in a mount namespace of its own, in which nothing was executed before, as
    /// container runtimes do.
    pub fn unshared(root: &Path) -> Result<Self> {
        fs::copy(tool::find("busybox")?, root.join("busybox"))?;
        Self::start(&[], "", "unshare", root, "")
    }

    /// Starts one in namespaces of its own, after a shell script that has a folder as `$0`; its root is
    /// `within` that folder.
    pub fn after(flags: &[&str], script: &str, folder: &Path, within: &str) -> Result<Self> {
        Self::start(flags, script, "chroot", folder, within)
    }

    fn start(flags: &[&str], script: &str, how: &str, root: &Path, within: &str) -> Result<Self> {
        // Without flags it makes no namespace.
        let mut command = tool::command("unshare", flags)?;
        command.args(["sh", "-ec", &format!("{script}\nexec \"$1\" \"$2\" \"$3\" \"$0/$4\"")]);
        command.arg(root).arg(tool::find("python3")?);
        command.arg(tool::fixtures().join("rooted.py")).args([how, within]);
        let child = Child::start(command)?;
        child.says("ready", LIMIT).context("the process has no root of its own")?;
        Ok(Self(child))
    }

    /// Its process id, as an argument.
    pub fn pid(&self) -> String {
        self.0.pid().to_string()
    }
}
