//! A program that the bench started: pinned to a processor, ended with xtask at the latest.

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead as _, BufReader, Read, Write as _},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::command::dying_with_us;

/// Which processor a program runs on: the server has one for itself.
#[derive(Clone, Copy)]
pub(super) enum Core {
    Server,
    /// Clients and tracers.
    Others,
}

/// A command of a program on a processor.
pub(super) fn on(core: Core, program: impl AsRef<OsStr>) -> Command {
    let mut command = dying_with_us("KILL");
    let number = match core {
        Core::Server => "0",
        Core::Others => "1",
    };
    command.args(["taskset", "--cpu-list", number]).arg(program);
    command
}

/// A running program, killed when dropped.
pub(super) struct Running {
    child: Child,
    name: &'static str,
    lines: Receiver<String>,
    /// What it has said.
    heard: Vec<String>,
}

impl Running {
    pub(super) fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        let (sender, lines) = mpsc::channel();
        read(child.stdout.take(), sender.clone());
        read(child.stderr.take(), sender);
        Ok(Self { child, name, lines, heard: Vec::new() })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line with this text on stdout or stderr.
    pub(super) fn says(&mut self, text: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.heard.push(line.clone());
                    if line.contains(text) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("{} did not say {text:?}", self.name),
                Err(RecvTimeoutError::Disconnected) => {
                    bail!("{} ended: {}", self.name, self.heard.join(" / "))
                }
            }
        }
    }

    /// Writes a line to its stdin.
    pub(super) fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("stdin is closed")?;
        writeln!(stdin, "{line}").with_context(|| format!("failed to write to {}", self.name))
    }

    /// Closes its stdin.
    pub(super) fn hang_up(&mut self) {
        drop(self.child.stdin.take());
    }

    pub(super) fn interrupt(&self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::INT)
            .with_context(|| format!("failed to interrupt {}", self.name))
    }

    /// Interrupts it again and again.
    pub(super) fn interrupt_until_it_ends(&mut self, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("{} did not end", self.name);
            }
            self.interrupt()?;
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Waits for its end; all that it has said.
    pub(super) fn finish(mut self, limit: Duration) -> Result<Vec<String>> {
        self.hang_up();
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.heard.push(line),
                Err(RecvTimeoutError::Timeout) => bail!("{} did not end", self.name),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().with_context(|| format!("failed to await {}", self.name))?;
        if !status.success() {
            bail!("{} failed ({status}): {}", self.name, self.heard.join(" / "));
        }
        Ok(std::mem::take(&mut self.heard))
    }

    /// Time on a processor, of all threads that live, in nanoseconds.
    pub(super) fn cpu_ns(&self) -> Result<u64> {
        let mut sum = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid()))? {
            // A thread that has just ended counts no more.
            let times = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            sum += times.split_whitespace().next().unwrap_or("0").parse::<u64>()?;
        }
        Ok(sum)
    }

    pub(super) fn resident_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        kib.parse().context("VmRSS is no number")
    }

    /// Descriptors of perf events and BPF links that it has open.
    pub(super) fn probes(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.pid()));
        let links = open.into_iter().flatten().flatten();
        let names = links.filter_map(|link| fs::read_link(link.path()).ok());
        names.filter(|name| name.to_string_lossy().contains("[perf_event]")).count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what we want.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(pipe: Option<impl Read + Send + 'static>, lines: Sender<String>) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            // Nobody listens any more when the program was dropped.
            let _ = lines.send(String::from_utf8_lossy(&line).into_owned());
        }
    });
}
