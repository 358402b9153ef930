//! Records in, lines out: the only code that writes to standard output.

mod clock;
mod columns;
mod escape;
pub mod files;
mod inventory;
mod json;
mod notice;
pub mod otlp;
mod pcapng;
mod place;
mod text;
mod units;
mod url;

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::tz::TimeZone;
use serde::Serialize;

pub use self::{inventory::table, notice::Notice};
use self::{json::Json, pcapng::Pcapng, text::Text};
use crate::{enrich::Record, inventory::Finding, terminal::Width};

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people, a line for each.
    Text,
    /// For programs, a JSON object a line.
    Json,
    /// For Wireshark: the plaintext as packets. Shows [`Content::Data`](crate::decode::Content::Data),
    /// gaps and ends, and nothing that is decoded.
    Pcapng,
    /// Not at all, to measure what is before.
    None,
}

/// What records show, beside the format.
#[derive(Clone, Debug)]
pub struct View {
    /// What messages carry beside their bodies, in text; JSON has it always.
    pub headers: bool,
    /// The bodies of messages.
    pub bodies: bool,
    /// Colors, in text.
    pub color: bool,
    /// A line with the names of the columns before the first record, in text.
    pub heading: bool,
    /// Where the clock of text is.
    pub zone: TimeZone,
    /// The terminal that text is for.
    pub width: Option<Width>,
}

/// Bytes that are written at once when there is much.
const BUFFER: usize = 64 << 10;

/// Writes records; buffered. Those that share an output write whole records in turns.
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: Arc<Mutex<W>>,
    buffer: Vec<u8>,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Text(Text),
    Json(Json),
    Pcapng(Box<Pcapng>),
    None,
}

impl<W: Write> Writer<W> {
    /// A writer in a format.
    pub fn new(out: W, format: Format, view: View) -> Self {
        let mut buffer = Vec::new();
        let shape = match format {
            Format::Text => Shape::Text(Text::new(view)),
            Format::Json => Shape::Json(Json::new(view.bodies)),
            Format::Pcapng => Shape::Pcapng(Box::new(Pcapng::begin(&mut buffer))),
            Format::None => Shape::None,
        };
        Self { out: Arc::new(Mutex::new(out)), buffer, shape }
    }

    /// Whether the ends of connections are shown.
    pub fn shows_ends(&self) -> bool {
        matches!(self.shape, Shape::Pcapng(_))
    }

    /// So many writers to the same output, one if each of them needs to know what the others
    /// write.
    pub fn split(self, wanted: usize) -> Vec<Self> {
        let mut all = Vec::new();
        for _ in 1..wanted {
            let shape = match &self.shape {
                Shape::Text(_) | Shape::Pcapng(_) => break,
                Shape::Json(json) => Shape::Json(json.another()),
                Shape::None => Shape::None,
            };
            all.push(Self { out: Arc::clone(&self.out), buffer: Vec::new(), shape });
        }
        all.push(self);
        all
    }

    /// Writes one record.
    pub fn write(&mut self, record: &Record) -> io::Result<()> {
        match &mut self.shape {
            Shape::Text(text) => text.write(record, &mut self.buffer)?,
            Shape::Json(json) => json.write(record, &mut self.buffer)?,
            Shape::Pcapng(pcapng) => pcapng.write(record, &mut self.buffer),
            Shape::None => {}
        }
        if self.buffer.len() < BUFFER { Ok(()) } else { self.hand_on(|_| Ok(())) }
    }

    /// Writes what the agent says of itself. Packets have no place for it.
    pub fn notice(&mut self, notice: &Notice) -> io::Result<()> {
        match &mut self.shape {
            Shape::Text(text) => text.notice(notice, &mut self.buffer),
            Shape::Json(_) => notice.write_json(&mut self.buffer),
            Shape::Pcapng(_) | Shape::None => Ok(()),
        }
    }

    /// Hands on what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.hand_on(W::flush)
    }

    fn hand_on(&mut self, then: impl FnOnce(&mut W) -> io::Result<()>) -> io::Result<()> {
        // An output whose writer panicked half-way is as good as it can get.
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        let written = out.write_all(&self.buffer);
        // What failed would fail again.
        self.buffer.clear();
        self.buffer.shrink_to(4 * BUFFER);
        written.and_then(|()| then(&mut out))
    }
}

/// What a record is in JSON, bodies too.
pub fn fields(record: &Record) -> Option<impl Serialize + '_> {
    json::Line::of(record, true)
}

/// Writes findings as JSON, one object a line.
pub fn findings<W: Write>(findings: &[Finding], out: &mut W) -> io::Result<()> {
    json::finding::write(findings, out)
}

/// Whether text is to be coloured: on a terminal, unless `NO_COLOR` is set (no-color.org).
pub fn colour(out: &impl IsTerminal) -> bool {
    out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
}

/// A reader that has read enough is no error.
pub fn ignore_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
pub(crate) mod sample;
