//! The fixture program `pace`: TLS calls by the number, and what they cost the caller.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Result, ensure};

use crate::{child::Child, exact::Fields};

/// For all of what the fixture does, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// The fixture, with its connections open.
pub struct Pace {
    child: Child,
    told: usize,
}

/// What calls cost the fixture.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Calls that moved a message; half of them wrote, half of them read.
    pub calls: u64,
    /// The time that they took.
    pub wall: Duration,
    /// The processor time.
    pub cpu: Duration,
}

impl Pace {
    /// Starts a compiled one; flags are explained at the top of `pace.c`.
    /// `libraries` is a folder with libraries of its own.
    pub(crate) fn start(binary: &Path, flags: &[&str], libraries: Option<&Path>) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(flags);
        if let Some(folder) = libraries {
            command.env("LD_LIBRARY_PATH", folder);
        }
        let child = Child::start(command)?;
        child.says("ready", LIMIT)?;
        Ok(Self { child, told: 0 })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Makes calls, as fast as it goes.
    pub fn go(&mut self, calls: u64) -> Result<Cost> {
        self.order(&format!("{calls}\n"))
    }

    /// Makes calls, so many a second.
    pub fn go_at(&mut self, calls: u64, rate: u64) -> Result<Cost> {
        self.order(&format!("{calls} {rate}\n"))
    }

    fn order(&mut self, line: &str) -> Result<Cost> {
        self.told += 1;
        self.child.tell(line)?;
        let nth = format!("done number={} ", self.told);
        let line = self.child.says(&nth, LIMIT)?;
        let fields = Fields(&line);
        Ok(Cost {
            calls: fields.number("calls")?,
            wall: Duration::from_nanos(fields.number("wall_ns")?),
            cpu: Duration::from_nanos(fields.number("cpu_ns")?),
        })
    }

    /// Lets it end.
    pub fn end(mut self) -> Result<()> {
        let status = self.child.finish(LIMIT)?;
        ensure!(status.success(), "the fixture failed: {status}");
        Ok(())
    }
}
