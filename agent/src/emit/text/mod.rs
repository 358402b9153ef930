//! A record in, lines for people out.
//!
//! Whatever comes from outside, names of processes and containers too, passes through
//! [`Escaped`], so that it is only ever text.

mod paint;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

use bytes::Bytes;
use jiff::{Timestamp, tz::TimeZone};

use self::paint::{CYAN, Color, DIM, PLAIN, Painted, RED, YELLOW, duration_color, status_color};
use super::{
    escape::Escaped,
    units::{Size, Span},
    url::Url,
};
use crate::{
    capture::Direction,
    decode::{Body, Content, Exchange, Request, Role},
    enrich::Record,
};

/// The form of lines.
#[derive(Debug)]
pub(super) struct Text {
    color: bool,
    /// Whether headers and bodies are shown.
    bodies: bool,
    zone: TimeZone,
}

impl Text {
    pub(super) fn new(color: bool, bodies: bool) -> Self {
        Self { color, bodies, zone: TimeZone::system() }
    }

    #[cfg(test)]
    pub(super) const fn in_utc(color: bool, bodies: bool) -> Self {
        Self { color, bodies, zone: TimeZone::UTC }
    }

    /// Writes a record as a line, and what it carries below.
    pub(super) fn write(&self, record: &Record, out: &mut impl Write) -> io::Result<()> {
        self.origin(record, out)?;
        match &record.message.content {
            Content::Data { direction, offset, bytes } => {
                let length = bytes.len();
                let what = format!("{} data  offset {offset}, {length} B: ", arrow(*direction));
                writeln!(out, "{what}{}", Escaped(bytes))
            }
            Content::Gap { direction, offset, length, reason } => {
                let what = format!(
                    "{} gap   {length} B lost at offset {offset}: {}",
                    arrow(*direction),
                    reason.as_str()
                );
                writeln!(out, "{}", self.paint(YELLOW, what))
            }
            Content::Opaque { bytes: [transmit, receive] } => {
                let (sent, received) = (Size(*transmit), Size(*receive));
                let what = format!("· opaque  {sent} sent, {received} received");
                writeln!(out, "{}", self.paint(DIM, what))
            }
            Content::Http(exchange) => self.exchange(exchange, out),
        }
    }

    /// When, in which container, by which process.
    fn origin(&self, record: &Record, out: &mut impl Write) -> io::Result<()> {
        let time = Timestamp::from_nanosecond(record.timestamp_ns.into())
            .unwrap_or(Timestamp::UNIX_EPOCH)
            .to_zoned(self.zone.clone())
            .strftime("%H:%M:%S%.3f")
            .to_string();
        let container = Escaped(container(record).as_bytes()).to_string();
        let command = record.process.command.as_deref().unwrap_or("?");
        let process = format!("{}[{}]", Escaped(command.as_bytes()), record.process.pid);
        write!(out, "{}  {container:<16}  {process:<20}  ", self.paint(DIM, time))
    }

    fn exchange(&self, exchange: &Exchange, out: &mut impl Write) -> io::Result<()> {
        let arrow = match exchange.role {
            Role::Client => "→",
            Role::Server => "←",
        };
        let (method, target) = match &exchange.request {
            Some(request) => (request.method.as_str(), target(request)),
            None => ("?", "(request not seen)".to_owned()),
        };
        write!(out, "{arrow} {:<7} {target:<40}  ", Escaped(method.as_bytes()).to_string())?;
        let (status, color) = match &exchange.response {
            Some(response) => (response.status.to_string(), status_color(response.status)),
            None => ("---".to_owned(), RED),
        };
        let span = exchange.duration_ns.map_or("-".to_owned(), |ns| Span(ns).to_string());
        let span = self.paint(duration_color(exchange.duration_ns), format!("{span:>8}"));
        writeln!(out, "{}  {span}  {}", self.paint(color, status), sizes(exchange))?;
        if self.bodies {
            self.messages(exchange, out)?;
        }
        Ok(())
    }

    /// Headers and bodies, those of the request marked `>`, those of the response `<`.
    fn messages(&self, exchange: &Exchange, out: &mut impl Write) -> io::Result<()> {
        if let Some(request) = &exchange.request {
            self.message('>', &request.headers, &request.body, out)?;
        }
        if let Some(response) = &exchange.response {
            self.message('<', &response.headers, &response.body, out)?;
        }
        Ok(())
    }

    fn message(
        &self,
        mark: char,
        headers: &[(String, Bytes)],
        body: &Body,
        out: &mut impl Write,
    ) -> io::Result<()> {
        for (name, value) in headers {
            let name = self.paint(CYAN, Escaped(name.as_bytes()).to_string());
            writeln!(out, "    {mark} {name}: {}", Escaped(value))?;
        }
        if body.bytes.is_empty() {
            return Ok(());
        }
        writeln!(out, "    {mark}")?;
        match text_of(body) {
            Some(text) => {
                for line in text.lines() {
                    writeln!(out, "    {mark} {}", Escaped(line.as_bytes()))?;
                }
            }
            None => writeln!(out, "    {mark} ({} that are not text)", Size(length(&body.bytes)))?,
        }
        if body.truncated {
            writeln!(out, "    {mark} {}", self.paint(YELLOW, "… (cut)".to_owned()))?;
        }
        Ok(())
    }

    const fn paint(&self, color: Color, text: String) -> Painted {
        Painted { color: if self.color { color } else { PLAIN }, text }
    }
}

/// The container's name, or the short form of its id, as Docker shows it.
fn container(record: &Record) -> &str {
    let Some(container) = &record.container else {
        return "host";
    };
    let short = |id| str::get(id, ..12).unwrap_or(id);
    container.name.as_deref().or(container.id.as_deref().map(short)).unwrap_or("?")
}

/// Seen from the process: to the peer or from it.
const fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Transmit => "→",
        Direction::Receive => "←",
    }
}

fn target(request: &Request) -> String {
    let url = Url::of(request);
    let target = match (&url.authority, url.path) {
        (Some(host), Some(path)) => {
            let query = url.query.map_or(String::new(), |query| format!("?{query}"));
            format!("{host}{path}{query}")
        }
        (Some(host), None) if request.target == "*" => format!("{host} *"),
        _ => request.target.clone(),
    };
    Escaped(target.as_bytes()).to_string()
}

/// The sizes of both bodies as transferred; `~` marks one that was not seen whole.
fn sizes(exchange: &Exchange) -> String {
    let size =
        |body: &Body| format!("{}{}", Size(body.size), if body.truncated { "~" } else { "" });
    let request = exchange.request.as_ref().map(|request| size(&request.body));
    let response = exchange.response.as_ref().map(|response| size(&response.body));
    let missing = || "-".to_owned();
    format!("{} / {}", request.unwrap_or_else(missing), response.unwrap_or_else(missing))
}

/// A body that is text; one that was cut may end within a character.
fn text_of(body: &Body) -> Option<&str> {
    match std::str::from_utf8(&body.bytes) {
        Ok(text) => Some(text),
        Err(error) if body.truncated && error.error_len().is_none() => {
            std::str::from_utf8(body.bytes.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

const fn length(bytes: &Bytes) -> u64 {
    bytes.len() as u64
}
