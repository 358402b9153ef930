//! The agent at work on the host, ended by Ctrl-C or by the last record of the demo.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
    sync::mpsc::{self, Receiver},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::command::dying_with_us;

pub(super) struct Tracer {
    agent: Child,
    ready: Receiver<()>,
}

impl Tracer {
    /// Starts the agent, to end after so many records of the container's programs.
    pub(super) fn start(program: &Path, records: u32) -> Result<Self> {
        let mut agent = dying_with_us("TERM")
            .arg(program)
            .args(["trace", "--comm", "curl", "--comm", "openssl", "--duration", "10s"])
            .args(["--count", &records.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("failed to start the agent")?;
        let stderr = agent.stderr.take().context("failed to open the agent's stderr")?;
        forward_signals(&agent)?;
        let (sender, ready) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                eprintln!("{line}");
                if line.contains("ready") {
                    // Nobody waits for a second one.
                    let _ = sender.send(());
                }
            }
        });
        Ok(Self { agent, ready })
    }

    /// False when the agent ended before.
    pub(super) fn wait_until_ready(&self) -> bool {
        self.ready.recv().is_ok()
    }

    pub(super) fn wait(&mut self) -> Result<()> {
        let status = self.agent.wait().context("failed to wait for the agent")?;
        // Its last lines may still be in the pipe; its helper may hold the pipe open for longer.
        while self.ready.recv_timeout(Duration::from_millis(200)).is_ok() {}
        if !status.success() {
            bail!("the agent failed ({status})");
        }
        Ok(())
    }
}

/// Whatever ends xtask ends the agent instead, which then says its last line; xtask follows.
fn forward_signals(agent: &Child) -> Result<()> {
    let agent = Pid::from_child(agent);
    let mut signals =
        Signals::new([SIGHUP, SIGINT, SIGTERM]).context("failed to listen for signals")?;
    thread::spawn(move || {
        for _ in signals.forever() {
            // It may have ended by itself.
            let _ = kill_process(agent, Signal::TERM);
        }
    });
    Ok(())
}
