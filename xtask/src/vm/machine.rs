//! The machine: two processors, no disk, no network but its own.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::Stdio,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::command::dying_with_us;

/// It takes some two minutes where nothing else runs.
const LIMIT: Duration = Duration::from_secs(900);
const MEBIBYTES: &str = "2048";
/// What it says last.
const ENDED: &str = "the tests ended with ";

pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Path,
    pub(super) root: &'a Path,
    /// A part of the names of the tests that are run.
    pub(super) test: Option<&'a str>,
}

impl Machine<'_> {
    /// Runs it to its end. Passes on what it says.
    pub(super) fn run(&self) -> Result<()> {
        let mut qemu = dying_with_us("KILL")
            .args(["qemu-system-x86_64", "-machine", "pc", "-accel", "tcg,thread=multi"])
            .args(["-cpu", "max", "-smp", "2", "-m", MEBIBYTES])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(["-serial", "stdio"])
            .arg("-kernel")
            .arg(self.kernel)
            .arg("-initrd")
            .arg(self.root)
            .args(["-append", &self.command_line()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the machine")?;
        let serial = qemu.stdout.take().context("the machine has no serial port")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let lines = BufReader::new(serial).split(b'\n').map_while(Result::ok);
            // Nobody waits for them any more when the time is over.
            lines.map(|line| sender.send(line)).take_while(Result::is_ok).for_each(drop);
        });
        let status = follow(&lines, Instant::now() + LIMIT);
        // It has ended, or is to.
        let _ = qemu.kill();
        let _ = qemu.wait();
        match status?.as_deref() {
            Some("0") => Ok(()),
            Some(status) => bail!("tests failed in the machine (exit {status})"),
            None => bail!("the machine stopped before its tests had ended"),
        }
    }

    fn command_line(&self) -> String {
        // Words that the kernel does not know are variables of its first process.
        let test = self.test.map_or_else(String::new, |test| format!(" TEST={test}"));
        format!("console=ttyS0 quiet panic=-1 mitigations=off{test}")
    }
}

/// Passes lines on until the end; what the tests ended with.
fn follow(lines: &mpsc::Receiver<Vec<u8>>, deadline: Instant) -> Result<Option<String>> {
    let mut status = None;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let line = String::from_utf8_lossy(&line);
                let line = line.trim_end();
                eprintln!("{line}");
                if let Some(told) = line.strip_prefix(ENDED) {
                    status = Some(told.to_owned());
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(status),
            Err(RecvTimeoutError::Timeout) => bail!("the machine did not end within {LIMIT:?}"),
        }
    }
}
