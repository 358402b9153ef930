//! Records in, lines out. What the records of a connection have in common is written once, and copied
//! from then on.

use std::io;

use serde::Serialize;

use super::{SCHEMA, Shown, compact, origins::Origins, timestamp};
use crate::{emit::clock::Clock, enrich::Record};

/// Writes records.
#[derive(Debug)]
pub(in crate::emit) struct Json {
    bodies: bool,
    clock: Clock,
    origins: Origins,
}

impl Json {
    /// `bodies`: with those of messages.
    pub(in crate::emit) fn new(bodies: bool) -> Self {
        Self { bodies, clock: Clock::default(), origins: Origins::new() }
    }

    /// One that writes likewise.
    pub(in crate::emit) fn another(&self) -> Self {
        Self::new(self.bodies)
    }

    /// Writes a record as one line: what [`Line`](super::Line) is in JSON.
    pub(in crate::emit) fn write(&mut self, record: &Record, out: &mut Vec<u8>) -> io::Result<()> {
        let Some(shown) = Shown::of(&record.message, self.bodies) else { return Ok(()) };
        let head = ["{\"schema\":\"", SCHEMA, "\",\"type\":\"", shown.kind, "\",\"timestamp\":\""];
        head.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        timestamp(&mut self.clock, record.timestamp_ns, out)?;
        out.push(b'"');
        self.origins.write(record, shown.direction, out)?;
        members(&shown.rest, out)?;
        out.extend_from_slice(b"}\n");
        Ok(())
    }
}

/// Writes the members of an object that has some, each behind a comma.
pub(super) fn members(object: &impl Serialize, out: &mut Vec<u8>) -> io::Result<()> {
    let start = out.len();
    compact::write(object, out)?;
    // In place of the braces.
    if let Some(brace) = out.get_mut(start) {
        *brace = b',';
    }
    out.pop();
    Ok(())
}
