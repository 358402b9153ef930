//! Docker on this node: the daemon that runs, or one of our own; images; containers; one network.
//!
//! Everything made here carries a label with the suite's process id, so that the next
//! run finds what a killed one left.

pub(crate) mod cache;
pub(crate) mod container;
mod daemon;
mod image;
mod lock;

use std::{
    cell::{OnceCell, RefCell},
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

pub use self::{
    container::{Container, Run},
    image::Derived,
};
use self::{daemon::Daemon, lock::Lock};
use crate::tool;

/// Key of the label on containers and networks; its value is the suite's process id.
const LABEL: &str = "tlstap-tests.run";

/// A Docker daemon that answers.
pub struct Docker {
    network: String,
    image: OnceCell<String>,
    daemon: RefCell<Option<Daemon>>,
    // Last: other suites wait until everything else is gone.
    _lock: Lock,
}

impl Docker {
    /// Connects to the daemon, after starting one if none answers. One suite at a time.
    pub fn reach() -> Result<Self> {
        let lock = Lock::take()?;
        Daemon::wait_for_predecessor()?;
        let daemon = match answers() {
            true => None,
            false => Some(Daemon::start()?),
        };
        sweep()?;
        let network = format!("tlstap-tests-{}", std::process::id());
        let label = label();
        docker(["network", "create", "--internal", "--label", &label, &network])?;
        let (image, daemon) = (OnceCell::new(), RefCell::new(daemon));
        Ok(Self { network, image, daemon, _lock: lock })
    }

    /// The network of the suite; containers know each other by name in it.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// The image with Python, Node, curl, nginx and OpenSSL, built on first use.
    pub fn image(&self) -> Result<&str> {
        if self.image.get().is_none() {
            let built = image::build()?;
            return Ok(self.image.get_or_init(|| built));
        }
        Ok(self.image.get().map_or("", String::as_str))
    }

    /// Builds an image by a Dockerfile in a folder, every step anew.
    pub fn derive(&self, dockerfile: &str, context: &Path) -> Result<Derived> {
        image::derive(dockerfile, context)
    }

    /// Takes an image from an archive.
    pub fn load(&self, archive: &Path) -> Result<Derived> {
        image::load(archive)
    }

    /// An image of nothing but files of this machine, at the same paths, and those that each is linked
    /// to.
    pub fn of_files(&self, files: &[PathBuf]) -> Result<Derived> {
        image::of_files(files)
    }

    /// A container of the image, named after its role, that is being put together.
    pub fn run(&self, role: &str) -> Result<Run> {
        Ok(Run::new(role, self.image()?))
    }

    /// Kills the daemon, as a crash does, when it is ours.
    pub fn kill_daemon(&self) -> Result<()> {
        match self.daemon.take() {
            Some(daemon) => daemon.kill(),
            None => bail!("the daemon that runs here is not ours to kill"),
        }
    }

    /// Starts the daemon again.
    pub fn restart_daemon(&self) -> Result<()> {
        self.daemon.replace(Some(Daemon::start()?));
        Ok(())
    }

    /// Removes what was made, and stops the daemon if it was started here.
    pub fn leave(self) -> Result<()> {
        if !answers() {
            // Killed by a test that failed before it started it again: its containers live.
            self.restart_daemon()?;
            sweep()?;
        }
        docker(["network", "rm", &self.network])?;
        match self.daemon.into_inner() {
            Some(daemon) => {
                // Stages of builds; nothing else in our own daemon is without a name.
                docker(["image", "prune", "--force"])?;
                daemon.stop()
            }
            None => Ok(()),
        }
    }
}

fn label() -> String {
    format!("{LABEL}={}", std::process::id())
}

/// Whether a daemon answers where the client looks for one.
fn answers() -> bool {
    docker(["version", "--format", "{{.Server.Version}}"]).is_ok()
}

/// A command of the client.
fn client<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<Command> {
    let mut command = tool::command("docker", args)?;
    // The classic builder is in every version and needs no plug-in.
    command.env("DOCKER_BUILDKIT", "0");
    Ok(command)
}

/// Runs the client to its end; its stdout, trimmed.
fn docker<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> Result<String> {
    tool::run(client(args)?)
}

/// Removes the containers and networks of suites that are gone. The lock is ours, so every other
/// suite is.
fn sweep() -> Result<()> {
    let filter = format!("label={LABEL}");
    for container in docker(["ps", "--all", "--quiet", "--filter", &filter])?.lines() {
        docker(["rm", "--force", "--volumes", container])?;
    }
    for network in docker(["network", "ls", "--quiet", "--filter", &filter])?.lines() {
        docker(["network", "rm", network])?;
    }
    Ok(())
}
