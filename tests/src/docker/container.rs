//! Containers: put together, started, watched, removed.

use std::{
    ffi::OsStr,
    fs,
    path::Path,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{client, docker, label};
use crate::{child::Child, deadline, tool};

const LIMIT: Duration = Duration::from_secs(30);

/// A number that no other container of this machine's suites has in its name.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A container that is being put together.
#[must_use]
pub struct Run {
    name: String,
    image: String,
    options: Vec<String>,
}

impl Run {
    pub(super) fn new(role: &str, image: &str) -> Self {
        let name = format!("{role}-{}", unique());
        let options = ["--label", &label(), "--name", &name].map(str::to_owned).to_vec();
        Self { name, image: image.to_owned(), options }
    }

    /// Its name, `ROLE-` and a unique rest.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// From another image than the suite's.
    pub fn of_image(mut self, image: &str) -> Self {
        image.clone_into(&mut self.image);
        self
    }

    /// Options of `docker run`.
    pub fn options(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(ToString::to_string));
        self
    }

    /// In a network, or in the network namespace of another container.
    pub fn network(self, network: &str) -> Self {
        self.options(&["--network", network])
    }

    /// With a file or folder of the host.
    pub fn mount(self, host: &Path, inside: &str) -> Self {
        let volume = format!("{}:{inside}", host.display());
        self.options(&["--volume", &volume])
    }

    /// Starts it in the background.
    pub fn start(self, command: &[&str]) -> Result<Container> {
        let name = self.name.clone();
        let started = tool::run(self.command(&["--detach"], command)?);
        // Made even if it failed to start.
        let container = Container { name };
        started.map(|_| container)
    }

    /// Starts it with our pipes as its streams.
    pub fn attached(self, command: &[&str]) -> Result<(Child, Container)> {
        let container = Container { name: self.name.clone() };
        let child = Child::start(self.command(&["--interactive"], command)?)?;
        container.wait_until_running()?;
        Ok((child, container))
    }

    /// Runs it to its end; its stdout, trimmed. A failure in it is an error.
    pub fn finish(self, command: &[&str]) -> Result<(String, Container)> {
        let container = Container { name: self.name.clone() };
        let stdout = tool::run(self.command(&[], command)?)?;
        Ok((stdout, container))
    }

    fn command(self, how: &[&str], command: &[&str]) -> Result<Command> {
        let mut run = client(["run"])?;
        run.args(how).args(self.options).arg(self.image).args(command);
        Ok(run)
    }
}

/// A container, removed when dropped.
pub struct Container {
    name: String,
}

impl Container {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id, 64 hexadecimal digits.
    pub fn id(&self) -> Result<String> {
        self.inspect("{{.Id}}")
    }

    /// The host's number of its first process.
    pub fn pid(&self) -> Result<u32> {
        self.inspect("{{.State.Pid}}")?.parse().context("docker's pid is no number")
    }

    /// Its address in the suite's network.
    pub fn address(&self) -> Result<String> {
        self.inspect("{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}")
    }

    /// What `docker inspect` says, by a template.
    pub fn inspect(&self, what: &str) -> Result<String> {
        docker(["inspect", "--format", what, &self.name])
    }

    fn wait_until_running(&self) -> Result<()> {
        let what = format!("container {} to run", self.name);
        deadline::until(&what, LIMIT, || {
            let running = self.inspect("{{.State.Running}}").unwrap_or_default();
            Ok((running == "true").then_some(()))
        })
    }

    /// Waits until it has written the text.
    pub fn wait_for_log(&self, text: &str) -> Result<()> {
        self.wait_for_log_within(text, LIMIT)
    }

    /// Likewise, for so long at most.
    pub fn wait_for_log_within(&self, text: &str, limit: Duration) -> Result<()> {
        let what = format!("{text:?} in the log of {}", self.name);
        let waited = deadline::until(&what, limit, || {
            let output = client(["logs", &self.name])?.output()?;
            let written = [output.stdout, output.stderr].concat();
            Ok(String::from_utf8_lossy(&written).contains(text).then_some(()))
        });
        waited.with_context(|| docker(["logs", &self.name]).unwrap_or_default())
    }

    /// What it has written to stdout.
    pub fn log(&self) -> Result<String> {
        docker(["logs", &self.name])
    }

    /// Runs a command in it; its stdout, trimmed.
    pub fn exec(&self, command: &[&str]) -> Result<String> {
        docker(["exec", &self.name].iter().chain(command))
    }

    /// Copies a file out of it.
    pub fn copy_out(&self, path: &str, to: &Path) -> Result<()> {
        let from = format!("{}:{path}", self.name);
        docker(["cp".as_ref(), "--follow-link".as_ref(), OsStr::new(&from), to.as_os_str()])?;
        Ok(())
    }

    /// Writes its whole root into a folder.
    pub fn export(&self, to: &Path) -> Result<()> {
        let archive = to.with_extension("tar");
        let mut export = client(["export", "--output"])?;
        export.arg(&archive).arg(&self.name);
        tool::run(export)?;
        let mut unpack = tool::command("tar", ["--extract", "--file"])?;
        unpack.arg(&archive).arg("--directory").arg(to);
        tool::run(unpack)?;
        Ok(fs::remove_file(archive)?)
    }

    /// Kills it; its files stay.
    pub fn kill(&self) -> Result<()> {
        docker(["kill", &self.name])?;
        self.wait().map(drop)
    }

    /// Kills it and starts it again; its files stay.
    pub fn restart(&self) -> Result<()> {
        docker(["restart", "--time", "0", &self.name]).map(drop)
    }

    /// Waits until its first process has ended; its exit status.
    pub fn wait(&self) -> Result<String> {
        docker(["wait", &self.name])
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Fails only when it never came to be, or when the daemon is gone.
        let _ = docker(["rm", "--force", "--volumes", &self.name]);
    }
}
