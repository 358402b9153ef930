//! A record in, lines for people out.
//!
//! Whatever comes from outside, names of processes and containers too, passes through
//! [`Escaped`], so that it is only ever text.

mod layout;
mod paint;
mod pretty;
mod sse;
#[cfg(test)]
mod tests;
mod websocket;

use std::io::{self, Write};

use bytes::Bytes;
use unicode_width::UnicodeWidthStr as _;

use self::{
    layout::Layout,
    paint::{CYAN, Color, DIM, PLAIN, Painted, RED, YELLOW, duration_color, status_color},
};
use super::{
    Notice, View,
    clock::Clock,
    escape::Escaped,
    json::protobuf::ValueJson,
    place::place,
    units::{Size, Span},
    url::Url,
};
use crate::{
    capture::{Direction, Endpoints},
    decode::{
        Body, Content, Exchange, Fields, Messaging, Operation, Outcome, Request, Role, Value,
    },
    enrich::Record,
    terminal::{Width, cut},
};

/// A column of names is no wider; a longer name moves the rest of its own line only.
const NAME_LIMIT: usize = 40;

/// Lines, with their columns.
#[derive(Debug)]
pub(super) struct Text {
    view: View,
    clock: Clock,
    /// Whether the names of the columns are still to be written.
    heading: bool,
    container: Column,
    process: Column,
    layout: Layout,
}

/// A column of names. It is as wide as the widest name yet, so that lines that follow each other
/// line up whatever the names are.
#[derive(Debug)]
struct Column {
    width: usize,
}

impl Column {
    /// As wide as this at most, if that is given.
    fn narrow(&mut self, limit: Option<usize>) {
        self.width = limit.map_or(self.width, |limit| self.width.min(limit));
    }

    fn cell(&mut self, name: String) -> String {
        // In columns of the terminal: letters may have none of their own, or two.
        let length = name.width();
        if length <= NAME_LIMIT {
            self.width = self.width.max(length);
        }
        let space = " ".repeat(self.width.saturating_sub(length));
        name + &space
    }
}

impl Text {
    pub(super) fn new(view: View) -> Self {
        let heading = view.heading;
        let (container, process) = (Column { width: 12 }, Column { width: 16 });
        let layout = Layout { names: None, sizes: true };
        Self { view, clock: Clock::default(), heading, container, process, layout }
    }

    /// Follows the terminal; where its columns are others, their names are told again.
    fn fit(&mut self) {
        let layout = Layout::of(self.view.width.as_ref().and_then(Width::columns));
        if layout != self.layout {
            self.layout = layout;
            self.heading = self.view.heading;
            self.container.narrow(layout.names.map(|(container, _)| container));
            self.process.narrow(layout.names.map(|(_, process)| process));
        }
    }

    /// Writes a record as a line, and what it carries below.
    pub(super) fn write(&mut self, record: &Record, out: &mut impl Write) -> io::Result<()> {
        if record.message.is_end() {
            return Ok(());
        }
        self.fit();
        let limits = self.layout.names;
        let limit = limits.map(|(container, _)| container);
        let container = self.container.cell(container(record, limit));
        let process = self.process.cell(process(record, limits.map(|(_, process)| process)));
        if std::mem::take(&mut self.heading) {
            self.heading(out)?;
        }
        let time = self.time(record.timestamp_ns);
        let time = self.paint(DIM, time);
        write!(out, "{time}  {container}  {process}  ")?;
        match &record.message.content {
            Content::Data { direction, offset, bytes } => {
                let length = bytes.len();
                let what = kind(arrow(*direction), "data");
                writeln!(out, "{what}offset {offset}, {length} B: {}", Escaped(bytes))
            }
            Content::Gap { direction, offset, length, reason } => {
                let what = kind(arrow(*direction), "gap");
                let lost = format!("{length} B lost at offset {offset}: {}", reason.as_str());
                writeln!(out, "{}", self.paint(YELLOW, what + &lost))
            }
            Content::Opaque { bytes: [transmit, receive] } => {
                let (sent, received) = (Size(*transmit), Size(*receive));
                let what = kind("·", "opaque") + &format!("{sent} sent, {received} received");
                writeln!(out, "{}{}", self.paint(DIM, what), self.peer(record))
            }
            Content::Closed { .. } => Ok(()),
            Content::Http(exchange) => self.exchange(exchange, &self.peer(record), out),
            Content::Operation(operation) => self.operation(operation, &self.peer(record), out),
            Content::WebSocket(websocket) => self.websocket(websocket, &self.peer(record), out),
            Content::Event(event) => self.event(event, &self.peer(record), out),
        }
    }

    /// Writes what the agent says of itself as a line.
    pub(super) fn notice(&mut self, notice: &Notice, out: &mut impl Write) -> io::Result<()> {
        self.fit();
        let time = self.time(notice.timestamp_ns);
        let time = self.paint(DIM, time);
        let what = self.container.cell("limit".to_owned());
        writeln!(out, "{time}  {}", self.paint(YELLOW, format!("{what}  {}", notice.step)))
    }

    /// The names of the columns, those of exchanges at the end.
    fn heading(&self, out: &mut impl Write) -> io::Result<()> {
        let (container, process) = (self.container.width, self.process.width);
        let sizes = if self.layout.sizes { "  REQUEST   RESPONSE " } else { "" };
        let [container_name, process_name] =
            [("CONTAINER", container), ("PROCESS[PID]", process)].map(|(name, at)| cut(name, at));
        let names = format!(
            "{:<12}  {container_name:<container$}  {process_name:<process$}    {:<7}  STATUS  DURATION {sizes}  URL @ PEER",
            "TIME", "METHOD"
        );
        writeln!(out, "{}", self.paint(DIM, names))
    }

    fn time(&mut self, ns: i64) -> String {
        let zone = &self.view.zone;
        let (second, rest) =
            self.clock.at(ns, |time| time.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string());
        format!("{second}.{:03}", rest / 1_000_000)
    }

    /// What was asked for stands last: it may be of any length.
    fn exchange(&self, exchange: &Exchange, peer: &str, out: &mut impl Write) -> io::Result<()> {
        let arrow = side(exchange.role);
        let (method, target) = match &exchange.request {
            Some(request) if exchange.grpc.is_some() => ("gRPC", target(request)),
            Some(request) => (request.method.as_deref().unwrap_or("?"), target(request)),
            None => ("?", "(request not seen)".to_owned()),
        };
        let method = Escaped(method.as_bytes()).text();
        let grpc = exchange.grpc.as_deref().and_then(|grpc| grpc.status);
        let (status, color) = match &exchange.response {
            Some(_) if grpc.is_some() => {
                let status = grpc.unwrap_or_default();
                (status.to_string(), if status == 0 { PLAIN } else { RED })
            }
            Some(response) => match response.status {
                Some(status) => (status.to_string(), status_color(status)),
                None => ("?".to_owned(), PLAIN),
            },
            None => ("---".to_owned(), RED),
        };
        let status = self.paint(color, format!("{status:>6}"));
        let span = exchange.duration_ns.map_or("-".to_owned(), |ns| Span(ns).to_string());
        let span = self.paint(duration_color(exchange.duration_ns), format!("{span:>8}"));
        let request = size(exchange.request.as_ref().map(|request| &request.body));
        let response = size(exchange.response.as_ref().map(|response| &response.body));
        let what = kind(arrow, &method);
        let sizes = self.sizes(&request, &response);
        writeln!(out, "{what}{status}  {span}  {sizes}{target}{peer}")?;
        if self.view.headers {
            self.messages(exchange, out)?;
        }
        Ok(())
    }

    /// Likewise.
    fn operation(&self, operation: &Operation, peer: &str, out: &mut impl Write) -> io::Result<()> {
        let name = Escaped(operation.name.as_deref().unwrap_or("?").as_bytes()).text();
        let (status, color) = match &operation.outcome {
            Some(Outcome { failed: false, .. }) => ("ok", PLAIN),
            Some(Outcome { code, .. }) => (code.as_deref().unwrap_or("error"), RED),
            None => ("---", RED),
        };
        let status = Escaped(status.as_bytes()).text();
        let status = self.paint(color, format!("{status:>6}"));
        let span = operation.duration_ns.map_or("-".to_owned(), |ns| Span(ns).to_string());
        let span = self.paint(duration_color(operation.duration_ns), format!("{span:>8}"));
        let mark = if operation.truncated { '~' } else { ' ' };
        let (request, response) = (Size(operation.request_size), Size(operation.response_size));
        let sizes = self.sizes(
            &format!("{:>8} ", request.to_string()),
            &format!("{:>8}{mark}", response.to_string()),
        );
        let what = kind(arrow(operation.requests()), &name);
        let mut system = operation.system.as_str().to_owned();
        if let Some(namespace) = &operation.namespace {
            system += &format!(" {}", Escaped(namespace.as_bytes()));
        }
        let subject = subject(operation);
        writeln!(out, "{what}{status}  {span}  {sizes}{system} {subject}{peer}")
    }

    /// The columns of both sizes, where they are shown.
    fn sizes(&self, request: &str, response: &str) -> String {
        if self.layout.sizes { format!("{request}  {response}  ") } else { String::new() }
    }

    /// The other side's address, where it is known.
    fn peer(&self, record: &Record) -> String {
        let peer = match record.socket.as_ref().map(|socket| &socket.endpoints) {
            Some(Endpoints::Tcp { peer, .. }) => Some(peer.to_string()),
            // The path is the same for both.
            Some(Endpoints::Unix { local, peer }) => peer.as_ref().or(local.as_ref()).cloned(),
            None => None,
        };
        let Some(mut peer) = peer else { return String::new() };
        if let Some(name) = &record.peer {
            peer = format!("{peer} {name}");
        }
        self.paint(DIM, format!(" @ {}", Escaped(peer.as_bytes()))).to_string()
    }

    /// Headers and bodies, those of the request marked `>`, those of the response `<`.
    fn messages(&self, exchange: &Exchange, out: &mut impl Write) -> io::Result<()> {
        if let Some(request) = &exchange.request {
            self.head('>', &request.headers, out)?;
            self.payload('>', &request.headers, &request.body, out)?;
            self.content('>', exchange.grpc.as_deref().map(|grpc| &grpc.sent[..]), out)?;
            self.head('>', &request.trailers, out)?;
        }
        if let Some(response) = &exchange.response {
            self.head('<', &response.headers, out)?;
            self.payload('<', &response.headers, &response.body, out)?;
            self.content('<', exchange.grpc.as_deref().map(|grpc| &grpc.received[..]), out)?;
            self.head('<', &response.trailers, out)?;
        }
        Ok(())
    }

    fn head(&self, mark: char, fields: &Fields, out: &mut impl Write) -> io::Result<()> {
        for (name, value) in fields.iter() {
            let name = self.paint(CYAN, Escaped(name.as_bytes()).text());
            writeln!(out, "    {mark} {name}: {}", Escaped(value))?;
        }
        if fields.unknown() > 0 {
            writeln!(out, "    {mark} ? ({} fields are not known)", fields.unknown())?;
        }
        Ok(())
    }

    /// Messages of protobuf, each a line.
    fn content(
        &self,
        mark: char,
        messages: Option<&[Value]>,
        out: &mut impl Write,
    ) -> io::Result<()> {
        for message in messages.unwrap_or_default() {
            let line = serde_json::to_string(&ValueJson(message))?;
            writeln!(out, "    {mark} {}", Escaped(line.as_bytes()))?;
        }
        Ok(())
    }

    /// The body that belongs to these headers.
    fn payload(
        &self,
        mark: char,
        headers: &Fields,
        body: &Body,
        out: &mut impl Write,
    ) -> io::Result<()> {
        if !self.view.bodies || (body.bytes.is_empty() && !body.truncated) {
            return Ok(());
        }
        writeln!(out, "    {mark}")?;
        self.body(mark, headers.first("content-type"), body, out)
    }

    /// `kind` is the media type that it is said to have.
    fn body(
        &self,
        mark: char,
        kind: Option<&[u8]>,
        body: &Body,
        out: &mut impl Write,
    ) -> io::Result<()> {
        if body.bytes.is_empty() && !body.truncated {
            return Ok(());
        }
        match text_of(body).filter(|_| !kind.is_some_and(is_image)) {
            Some(text) if let Some(lines) = pretty::lines(text, self.view.color) => {
                for line in lines {
                    writeln!(out, "    {mark} {line}")?;
                }
            }
            Some(text) => {
                for line in text.lines() {
                    let space = if line.is_empty() { "" } else { " " };
                    writeln!(out, "    {mark}{space}{}", Escaped(line.as_bytes()))?;
                }
            }
            None => {
                let kind = kind.map_or("not text".to_owned(), |kind| Escaped(kind).text());
                writeln!(out, "    {mark} ({kind}, {})", Size(length(&body.bytes)))?;
            }
        }
        if body.truncated {
            writeln!(out, "    {mark} {}", self.paint(YELLOW, "… (cut)".to_owned()))?;
        }
        Ok(())
    }

    const fn paint(&self, color: Color, text: String) -> Painted {
        Painted { color: if self.view.color { color } else { PLAIN }, text }
    }
}

/// In at most so many columns.
fn container(record: &Record, limit: Option<usize>) -> String {
    let name = Escaped(place(record.container.as_deref()).as_bytes()).text();
    match limit {
        Some(limit) => cut(&name, limit),
        None => name,
    }
}

/// Likewise; the number is never cut.
fn process(record: &Record, limit: Option<usize>) -> String {
    let command = record.process.command.as_deref().unwrap_or("?");
    let command = Escaped(command.as_bytes()).text();
    let number = format!("[{}]", record.process.pid);
    let command = match limit {
        Some(limit) => cut(&command, limit.saturating_sub(number.len())),
        None => command,
    };
    command + &number
}

/// What an operation is about, and what came of it.
fn subject(operation: &Operation) -> String {
    let text = operation.text.as_deref().or(operation.target.as_deref()).unwrap_or_default();
    let mut subject = Escaped(text.as_bytes()).text();
    let outcome = operation.outcome.as_ref();
    let count = |n: Option<u64>, what| n.map(|n| format!("{n} {what}"));
    let counts = outcome.into_iter().flat_map(|outcome| {
        [count(outcome.returned, "returned"), count(outcome.affected, "affected")]
    });
    let counts = counts.flatten();
    let message =
        outcome.filter(|outcome| outcome.failed).and_then(|failed| failed.message.as_ref());
    let message = message.map(|message| Escaped(message.as_bytes()).text());
    let said = operation.messaging.iter().flat_map(|said| said_of(said));
    let notes: Vec<_> = said.chain(counts).chain(message).collect();
    if !notes.is_empty() {
        subject += &format!(" ({})", notes.join(", "));
    }
    subject
}

/// What a message has beside its destination.
fn said_of(said: &Messaging) -> impl Iterator<Item = String> {
    let texts = [(&said.routing_key, "key"), (&said.group, "group")].into_iter();
    let texts = texts.filter_map(|(text, name)| {
        text.as_ref().map(|text| format!("{name} {}", Escaped(text.as_bytes())))
    });
    let qos = said.qos.map(|qos| format!("qos {qos}"));
    let size = said.body_size.map(|size| format!("body {}", Size(size)));
    texts.chain(qos).chain(size)
}

const fn side(role: Role) -> &'static str {
    match role {
        Role::Client => "→",
        Role::Server => "←",
    }
}

/// Seen from the process: to the peer or from it.
const fn arrow(direction: Direction) -> &'static str {
    match direction {
        Direction::Transmit => "→",
        Direction::Receive => "←",
    }
}

/// What stands where an exchange has its method.
fn kind(arrow: &str, name: &str) -> String {
    format!("{arrow} {name:<7}  ")
}

fn target(request: &Request) -> String {
    let url = Url::of(request);
    let target = match (&url.authority, url.path) {
        (Some(host), Some(path)) => {
            let mark = if url.query.is_some() { "?" } else { "" };
            [host, path, mark, url.query.unwrap_or_default()].concat()
        }
        (Some(host), None) if request.target.as_deref() == Some("*") => format!("{host} *"),
        (Some(host), None) if request.target.is_none() => format!("{host} ?"),
        _ => request.target.clone().unwrap_or("?".to_owned()),
    };
    Escaped(target.as_bytes()).text()
}

/// The size of a body as transferred; `~` marks one that was not seen whole.
fn size(body: Option<&Body>) -> String {
    match body {
        Some(Body { size, truncated: true, .. }) => format!("{:>8}~", Size(*size)),
        Some(Body { size, .. }) => format!("{:>8} ", Size(*size)),
        None => format!("{:>8} ", "-"),
    }
}

/// Whether a media type is one of pictures that are no text.
fn is_image(kind: &[u8]) -> bool {
    kind.get(..6).is_some_and(|start| start.eq_ignore_ascii_case(b"image/"))
        && memchr::memmem::find(kind, b"svg").is_none()
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
