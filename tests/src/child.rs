//! A child process with its output read as it comes; killed when dropped.

use std::{
    io::Write as _,
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{deadline, feed::Feed};

/// A running child of ours.
pub struct Child {
    process: std::process::Child,
    what: String,
    /// What it writes to stdout.
    pub stdout: Feed,
    /// What it writes to stderr.
    pub stderr: Feed,
}

impl Child {
    /// Starts the command with all three streams as pipes.
    pub fn start(command: Command) -> Result<Self> {
        Self::start_with_head(command, usize::MAX)
    }

    /// Starts the command; its stdout is closed after `lines` lines.
    pub fn start_with_head(mut command: Command, lines: usize) -> Result<Self> {
        let what = format!("{command:?}");
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {what}"))?;
        let stdout = process.stdout.take().context("no stdout pipe")?;
        let stderr = process.stderr.take().context("no stderr pipe")?;
        Ok(Self { process, what, stdout: Feed::head(stdout, lines), stderr: Feed::read(stderr) })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Writes to its stdin.
    pub fn tell(&mut self, text: &str) -> Result<()> {
        let stdin = self.process.stdin.as_mut().context("stdin is closed")?;
        stdin
            .write_all(text.as_bytes())
            .with_context(|| format!("failed to write to {}", self.what))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).context("no pid")?;
        kill_process(pid, signal).with_context(|| format!("failed to signal {}", self.what))
    }

    /// Waits for a line of its stdout that contains `text`.
    pub fn says(&self, text: &str, limit: Duration) -> Result<String> {
        self.line(&self.stdout, text, limit)
    }

    /// Waits for a line of its stderr that contains `text`.
    pub fn complains(&self, text: &str, limit: Duration) -> Result<String> {
        self.line(&self.stderr, text, limit)
    }

    fn line(&self, feed: &Feed, text: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        let mut seen = 0;
        loop {
            let lines = feed.from(seen);
            seen += lines.len();
            if let Some(line) = lines.into_iter().find(|line| line.contains(text)) {
                return Ok(line);
            }
            if !feed.grew(seen, deadline) {
                bail!(
                    "no line with {text:?} from {} (limit {limit:?})\nstdout:\n{}\nstderr:\n{}",
                    self.what,
                    self.stdout.lines().join("\n"),
                    self.stderr.lines().join("\n")
                );
            }
        }
    }

    /// Waits for its end.
    pub fn finish(&mut self, limit: Duration) -> Result<ExitStatus> {
        drop(self.process.stdin.take());
        let what = format!("the end of {}", self.what);
        let process = &mut self.process;
        deadline::until(&what, limit, || Ok(process.try_wait()?))
            .with_context(|| format!("its stderr so far:\n{}", self.stderr.lines().join("\n")))
    }

    /// Whether it still runs after this time: it must not end before.
    pub fn lives_for(&mut self, time: Duration) -> Result<()> {
        if self.stdout.ended(time) || self.process.try_wait()?.is_some() {
            bail!("{} ended:\n{}", self.what, self.stderr.lines().join("\n"));
        }
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what we want.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
