//! A Docker daemon of our own, on the standard socket, with its data in the cache.
//!
//! It makes no default bridge and touches neither packet filter nor forwarding. It gets a TERM
//! when the suite dies, whatever kills it, and then stops its containers itself.

use std::{
    env, fs,
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{answers, cache};
use crate::{deadline, process, tool};

const LIMIT: Duration = Duration::from_secs(60);

/// Where the client looks, and the agent.
const SOCKET: &str = "unix:///var/run/docker.sock";

/// What lives as long as the daemon.
const RUN: &str = "/run/tlstap-tests";

const PIDFILE: &str = "/run/tlstap-tests/docker.pid";

const CGROUPS: &str = "/sys/fs/cgroup";

pub(super) struct Daemon {
    process: Child,
}

impl Daemon {
    /// Starts it, and waits until it answers. Call it from the main thread: the signal at death
    /// comes when the starting thread ends.
    pub(super) fn start() -> Result<Self> {
        ensure!(env::var_os("DOCKER_HOST").is_none(), "no daemon answers at DOCKER_HOST");
        let cache = cache::folder()?;
        let log = File::create(cache.join("dockerd.log"))?;
        let mut command = tool::command("setpriv", ["--pdeathsig", "TERM", "--"])?;
        command.arg(tool::find("dockerd")?);
        command.arg("--data-root").arg(data_root()?);
        command.args(["--exec-root", RUN, "--pidfile", PIDFILE]);
        command.args(["--host", SOCKET, "--bridge", "none"]);
        command.args(["--iptables=false", "--ip6tables=false"]);
        command.args(["--ip-forward=false", "--ip-masq=false"]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        fs::create_dir_all(RUN)?;
        let process = command.spawn().context("failed to start dockerd")?;
        let mut daemon = Self { process };
        daemon.wait_until_it_answers(&cache)?;
        Ok(daemon)
    }

    /// Waits for the end of the daemon of a suite that was killed. We hold the lock, so no daemon
    /// of ours has any business here.
    pub(super) fn wait_for_predecessor() -> Result<()> {
        let Ok(pid) = fs::read_to_string(PIDFILE) else {
            return Ok(());
        };
        let command = format!("/proc/{}/comm", pid.trim());
        deadline::until("the end of the dockerd of a killed suite", LIMIT, || {
            let lives = fs::read_to_string(&command).is_ok_and(|name| name.trim() == "dockerd");
            Ok((!lives).then_some(()))
        })
    }

    fn wait_until_it_answers(&mut self, cache: &Path) -> Result<()> {
        let answer =
            deadline::until("an answer of dockerd", LIMIT, || match self.process.try_wait()? {
                Some(status) => Err(anyhow!("dockerd ended with {status}")),
                None => Ok(answers().then_some(())),
            });
        answer.with_context(|| fs::read_to_string(cache.join("dockerd.log")).unwrap_or_default())
    }

    /// Stops it, and removes what it leaves.
    pub(super) fn stop(mut self) -> Result<()> {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("no pid")?, Signal::TERM)?;
        deadline::until("the end of dockerd", LIMIT, || Ok(self.process.try_wait()?))?;
        unmount_left()?;
        fs::remove_dir_all(RUN).context("failed to remove what dockerd left")?;
        for folder in cgroups() {
            // Fails when it is not there, or when somebody else uses it meanwhile.
            let _ = fs::remove_dir(folder);
        }
        Ok(())
    }

    /// Kills it as a crash does; its containers live on.
    pub(super) fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        // The kernel kills containerd with it. The next dockerd takes one that nobody has reaped
        // yet for one that runs, so the number must go.
        let number = Path::new(RUN).join("containerd/containerd.pid");
        let pid = fs::read_to_string(&number)?;
        deadline::until("the end of containerd", LIMIT, || {
            Ok(process::ended(pid.trim().parse()?).then_some(()))
        })?;
        Ok(fs::remove_file(number)?)
    }
}

fn data_root() -> Result<PathBuf> {
    Ok(cache::folder()?.join("docker"))
}

/// Unmounts what dockerd leaves mounted: the host's network namespace when a container used it,
/// and after a crash its data folder, which it mounts on itself.
fn unmount_left() -> Result<()> {
    let data = data_root()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let left = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let ours = |mount: &&str| Path::new(mount).starts_with(RUN) || Path::new(mount) == data;
    for mount in left.filter(ours) {
        tool::run(tool::command("umount", [mount])?)?;
    }
    Ok(())
}

/// The control group `docker` of each hierarchy: empty ones stay when dockerd ends.
fn cgroups() -> Vec<PathBuf> {
    let mut folders = vec![Path::new(CGROUPS).join("docker")];
    let hierarchies = fs::read_dir(CGROUPS).into_iter().flatten().flatten();
    folders.extend(hierarchies.map(|hierarchy| hierarchy.path().join("docker")));
    folders
}
