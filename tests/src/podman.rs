//! Podman with a service and a storage of its own.
//!
//! The service gets a TERM when the suite dies. Containers run to their end in the node's
//! network, so that Podman makes no network.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    cgroup, deadline,
    docker::{Derived, cache},
    tool,
};

const LIMIT: Duration = Duration::from_secs(60);

/// What lives as long as the service.
const RUN: &str = "/run/tlstap-tests-podman";

const SOCKET: &str = "unix:///run/tlstap-tests-podman/podman.sock";

/// The control group of all containers.
const CGROUP: &str = "tlstap-tests-podman";

/// A Podman that answers.
pub struct Podman {
    service: Child,
}

impl Podman {
    /// Starts the service. Call it from the main thread: the signal at death comes when the
    /// starting thread ends.
    pub fn start() -> Result<Self> {
        fs::create_dir_all(RUN)?;
        let mut service = tool::command("setpriv", ["--pdeathsig", "TERM", "--"])?;
        let podman = podman(&["system", "service", "--time", "0", SOCKET])?;
        service.arg(podman.get_program()).args(podman.get_args());
        service.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let service = service.spawn().context("failed to start the service of podman")?;
        let mut podman = Self { service };
        podman.wait_until_it_listens()?;
        Ok(podman)
    }

    /// What the agent must be told to find it.
    pub fn endpoint(&self) -> (&'static str, String) {
        ("CONTAINER_HOST", SOCKET.to_owned())
    }

    /// Takes over an image of Docker's; its name here.
    pub fn load(&self, image: &Derived) -> Result<String> {
        let archive = tempfile::NamedTempFile::new_in(cache::folder()?)?;
        image.save(archive.path())?;
        let path = archive.path().to_str().context("the cache's path is not UTF-8")?;
        let said = tool::run(podman(&["load", "--quiet", "--input", path])?)?;
        Ok(said.split_whitespace().last().context("podman loaded nothing")?.to_owned())
    }

    /// Runs a command in a container of this name to its end; its stdout.
    pub fn run(&self, name: &str, image: &str, command: &[&str]) -> Result<String> {
        let options = ["run", "--rm", "--name", name, "--network", "host"];
        // Podman's own are more than a node may allow.
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
        let cgroup = ["--cgroup-parent", &format!("/{CGROUP}")];
        let mut run = podman(&[&options[..], &limits, &cgroup, &[image]].concat())?;
        run.args(command);
        tool::run(run)
    }

    /// Starts a container of this name that waits, with a volume; it is removed in the end.
    pub fn start_waiting(&self, name: &str, image: &str, volume: &str) -> Result<()> {
        let options = ["run", "--detach", "--name", name, "--network", "host", "--volume", volume];
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
        let cgroup = ["--cgroup-parent", &format!("/{CGROUP}"), image, "sleep", "infinity"];
        tool::run(podman(&[&options[..], &limits, &cgroup].concat())?).map(drop)
    }

    /// Runs a command in such a container; its stdout.
    pub fn exec(&self, name: &str, command: &[&str]) -> Result<String> {
        tool::run(podman(&[&["exec", name], command].concat())?)
    }

    /// Kills it; its files stay.
    pub fn kill(&self, name: &str) -> Result<()> {
        tool::run(podman(&["kill", name])?)?;
        tool::run(podman(&["wait", name])?).map(drop)
    }

    /// What it says of it, by a template.
    pub fn inspect(&self, name: &str, what: &str) -> Result<String> {
        tool::run(podman(&["inspect", "--format", what, name])?)
    }

    /// Stops it, and removes what it leaves.
    pub fn stop(mut self) -> Result<()> {
        tool::run(podman(&["rm", "--all", "--force", "--time", "0"])?)?;
        tool::run(podman(&["rmi", "--all", "--force"])?)?;
        let pid = i32::try_from(self.service.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no pid")?, Signal::TERM)?;
        deadline::until("the end of podman", LIMIT, || Ok(self.service.try_wait()?))?;
        cgroup::remove(CGROUP);
        // The runtime's own place; stays where another Podman uses it.
        let _ = fs::remove_dir("/run/runc");
        fs::remove_dir_all(root()?)?;
        fs::remove_dir_all(RUN).context("failed to remove what podman left")
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let socket = Path::new(SOCKET.trim_start_matches("unix://"));
        deadline::until("the socket of podman", LIMIT, || match self.service.try_wait()? {
            Some(status) => Err(anyhow!("podman ended with {status}")),
            None => Ok(socket.exists().then_some(())),
        })
    }
}

fn podman(arguments: &[&str]) -> Result<Command> {
    let run = Path::new(RUN);
    let mut command = tool::command("podman", ["--cgroup-manager", "cgroupfs"])?;
    command.args(["--events-backend", "file"]);
    command.arg("--root").arg(root()?);
    command.arg("--runroot").arg(run.join("run")).arg("--tmpdir").arg(run.join("tmp"));
    command.args(arguments);
    Ok(command)
}

fn root() -> Result<PathBuf> {
    Ok(cache::folder()?.join("podman"))
}
