//! The throw-away container: a root made of the host's libraries, and namespaces that end with
//! this process.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};

use crate::command::dying_with_us;

const SCRIPT: &str = include_str!("container.sh");
/// As many as the script sends.
const REQUESTS: u32 = 3;

pub(super) struct Container {
    init: Child,
    stdin: ChildStdin,
}

impl Container {
    /// Returns when the server in it listens.
    pub(super) fn start() -> Result<Self> {
        let mut init = dying_with_us("KILL")
            .args(["unshare", "--mount", "--pid", "--net", "--uts", "--ipc"])
            .args(["--fork", "--kill-child=KILL", "sh", "-c", "eval \"$SCRIPT\""])
            .env("SCRIPT", SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start unshare")?;
        let pipes = init.stdin.take().zip(init.stdout.take());
        let (stdin, stdout) = pipes.context("failed to open the container's pipes")?;
        let container = Self { init, stdin };
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        if !lines.any(|line| line == "ACCEPT") {
            bail!("failed to start the demo's container: its server did not come up");
        }
        // A full pipe would stop the server.
        thread::spawn(move || lines.for_each(drop));
        Ok(container)
    }

    /// Both ends of every connection are in the container.
    pub(super) fn records(&self) -> u32 {
        2 * REQUESTS
    }

    pub(super) fn send_requests(&mut self) -> Result<()> {
        self.stdin.write_all(b"\n").context("failed to start the client in the container")
    }
}

impl Drop for Container {
    /// unshare's end takes pid 1 with it, pid 1's end everything in its namespaces.
    fn drop(&mut self) {
        let ended = self.init.kill().and_then(|()| self.init.wait());
        if let Err(error) = ended {
            eprintln!("xtask: failed to end the container: {error}");
        }
    }
}
