//! The fixture program `killed`: processes with one id, each killed while it is in a TLS call.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};

use crate::{child::Child, exact::Fields};

/// For all of what the fixture does, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// The fixture, which has libssl mapped and waits.
pub struct Killing {
    child: Child,
}

/// A process that was killed.
#[derive(Clone, Debug)]
pub struct Killed {
    /// Its id.
    pub pid: u32,
    /// The stream that it sent.
    pub stream: u64,
    /// Bytes that it sent at least by calls that returned.
    pub least: u64,
    /// Bytes that it can have sent at most by such.
    pub most: u64,
    /// Bytes that its parent, the server, received.
    pub heard: u64,
}

impl Killing {
    /// Starts a compiled one, which will have so many children.
    pub(crate) fn start(binary: &Path, count: usize) -> Result<Self> {
        let mut command = Command::new(binary);
        command.arg(count.to_string());
        let child = Child::start(command)?;
        child.says("ready", LIMIT)?;
        Ok(Self { child })
    }

    /// The parent's process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Has all children live and die.
    pub fn go(&mut self) -> Result<Vec<Killed>> {
        self.child.tell("go\n")?;
        self.child.says("done", LIMIT)?;
        let lines = self.child.stdout.lines();
        lines.iter().filter_map(|line| line.strip_prefix("killed ")).map(Killed::parse).collect()
    }

    /// Lets the parent end.
    pub fn end(mut self) -> Result<()> {
        let status = self.child.finish(LIMIT)?;
        ensure!(status.success(), "the fixture failed: {status}");
        Ok(())
    }
}

impl Killed {
    fn parse(line: &str) -> Result<Self> {
        let fields = Fields(line);
        Ok(Self {
            pid: fields.number("pid")?,
            stream: fields.number("stream")?,
            least: fields.number("least")?,
            most: fields.number("most")?,
            heard: fields.number("heard")?,
        })
    }
}
