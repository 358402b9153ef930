//! The fixture program `wakeups`: it sleeps beside the reader of a ring buffer, and is woken with
//! it.

use std::{path::Path, process::Command, time::Duration};

use anyhow::Result;

use crate::{child::Child, process};

const LIMIT: Duration = Duration::from_secs(20);

/// The fixture, asleep on a ring.
pub struct Wakeups {
    child: Child,
    before: u64,
}

impl Wakeups {
    /// Starts a compiled one on the ring with this id.
    pub(crate) fn start(binary: &Path, map: u64) -> Result<Self> {
        let mut command = Command::new(binary);
        command.arg(map.to_string());
        let child = Child::start(command)?;
        child.says("ready", LIMIT)?;
        let before = process::sleeps(child.pid())?;
        Ok(Self { child, before })
    }

    /// How often the ring's reader was woken so far. Wake-ups that follow one another before this
    /// fixture had the processor count as one.
    pub fn so_far(&self) -> Result<u64> {
        Ok(process::sleeps(self.child.pid())? - self.before)
    }
}
