//! A record in, lines for people out.
//!
//! Whatever comes from outside, names of processes and containers too, passes through
//! [`Escaped`], so that it is only ever text.

mod layout;
mod names;
mod paint;
mod pretty;
mod sse;
#[cfg(test)]
mod tests;
mod websocket;

use std::{
    fmt,
    io::{self, Write},
    net::SocketAddr,
};

use bytes::Bytes;

use self::{
    layout::Layout,
    names::Names,
    paint::{CYAN, Color, DIM, PLAIN, Painted, RED, YELLOW, duration_color, status_color},
};
use super::{
    Notice, View,
    clock::Clock,
    escape::Escaped,
    json::protobuf::ValueJson,
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

/// Lines, with their columns.
#[derive(Debug)]
pub(super) struct Text {
    view: View,
    clock: Clock,
    /// Whether the names of the columns are still to be written.
    heading: bool,
    names: Names,
    layout: Layout,
}

impl Text {
    pub(super) fn new(view: View) -> Self {
        let heading = view.heading;
        let layout = Layout { names: None, sizes: true };
        Self { view, clock: Clock::default(), heading, names: Names::new(), layout }
    }

    /// Follows the terminal; where its columns are others, their names are told again.
    fn fit(&mut self) {
        let layout = Layout::of(self.view.width.as_ref().and_then(Width::columns));
        if layout != self.layout {
            self.layout = layout;
            self.heading = self.view.heading;
            self.names.narrow(layout.names);
        }
    }

    /// Writes a record as a line, and what it carries below.
    pub(super) fn write(&mut self, record: &Record, out: &mut impl Write) -> io::Result<()> {
        if record.message.is_end() {
            return Ok(());
        }
        self.fit();
        if self.heading {
            self.names.cells(record);
            self.heading(out)?;
            self.heading = false;
        }
        self.time(record.timestamp_ns, out)?;
        out.write_all(self.names.cells(record).as_bytes())?;
        let peer = Maybe(Peer::of(record).map(|peer| self.paint(DIM, peer)));
        match &record.message.content {
            Content::Data { direction, offset, bytes } => {
                let length = bytes.len();
                let what = Kind(arrow(*direction), "data");
                writeln!(out, "{what}offset {offset}, {length} B: {}", Escaped(bytes))
            }
            Content::Gap { direction, offset, length, reason } => {
                let what = Kind(arrow(*direction), "gap");
                let reason = reason.as_str();
                let lost = format_args!("{what}{length} B lost at offset {offset}: {reason}");
                writeln!(out, "{}", self.paint(YELLOW, lost))
            }
            Content::Opaque { bytes: [transmit, receive] } => {
                let (sent, received) = (Size(*transmit), Size(*receive));
                let what = Kind("·", "opaque");
                let what = format_args!("{what}{sent} sent, {received} received");
                writeln!(out, "{}{peer}", self.paint(DIM, what))
            }
            Content::Closed { .. } => Ok(()),
            Content::Http(exchange) => self.exchange(exchange, &peer, out),
            Content::Operation(operation) => self.operation(operation, &peer, out),
            Content::WebSocket(websocket) => self.websocket(websocket, &peer, out),
            Content::Event(event) => self.event(event, &peer, out),
        }
    }

    /// Writes what the agent says of itself as a line.
    pub(super) fn notice(&mut self, notice: &Notice, out: &mut impl Write) -> io::Result<()> {
        self.fit();
        self.time(notice.timestamp_ns, out)?;
        let what = self.names.cell("limit");
        writeln!(out, "{}", self.paint(YELLOW, format_args!("{what}{}", notice.step)))
    }

    /// The names of the columns, those of exchanges at the end.
    fn heading(&self, out: &mut impl Write) -> io::Result<()> {
        let [container, process] = self.names.widths();
        let sizes = if self.layout.sizes { "  REQUEST   RESPONSE " } else { "" };
        let [container_name, process_name] =
            [("CONTAINER", container), ("PROCESS[PID]", process)].map(|(name, at)| cut(name, at));
        let names = format!(
            "{:<12}  {container_name:<container$}  {process_name:<process$}    {:<7}  STATUS  DURATION {sizes}  URL @ PEER",
            "TIME", "METHOD"
        );
        writeln!(out, "{}", self.paint(DIM, names))
    }

    /// When it was, and two blanks.
    fn time(&mut self, ns: i64, out: &mut impl Write) -> io::Result<()> {
        let (zone, color) = (&self.view.zone, self.color(DIM));
        let (second, rest) =
            self.clock.at(ns, |time| time.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string());
        let what = format_args!("{second}.{:03}", rest / 1_000_000);
        write!(out, "{}  ", Painted { color, what })
    }

    /// What was asked for stands last: it may be of any length.
    fn exchange(
        &self,
        exchange: &Exchange,
        peer: &impl fmt::Display,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let method = match &exchange.request {
            Some(_) if exchange.grpc.is_some() => "gRPC",
            Some(request) => request.method.as_deref().unwrap_or("?"),
            None => "?",
        };
        let method = Escaped(method.as_bytes()).text();
        let grpc = exchange.grpc.as_deref().and_then(|grpc| grpc.status);
        let status = exchange.response.as_ref().map(|response| response.status);
        let (status, color): (&dyn fmt::Display, _) = match (&status, &grpc) {
            (Some(_), Some(status)) => (status, if *status == 0 { PLAIN } else { RED }),
            (Some(Some(status)), None) => (status, status_color(*status)),
            (Some(None), None) => (&"?", PLAIN),
            (None, _) => (&"---", RED),
        };
        let what = Kind(side(exchange.role), &method);
        write!(out, "{what}{:>6}  ", self.paint(color, status))?;
        self.span(exchange.duration_ns, out)?;
        let request = exchange.request.as_ref().map(|request| &request.body);
        let response = exchange.response.as_ref().map(|response| &response.body);
        self.sizes(BodySize(request), BodySize(response), out)?;
        writeln!(out, "{}{peer}", Target(exchange.request.as_ref()))?;
        if self.view.headers {
            self.messages(exchange, out)?;
        }
        Ok(())
    }

    /// Likewise.
    fn operation(
        &self,
        operation: &Operation,
        peer: &impl fmt::Display,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let name = Escaped(operation.name.as_deref().unwrap_or("?").as_bytes()).text();
        let (status, color) = match &operation.outcome {
            Some(Outcome { failed: false, .. }) => ("ok", PLAIN),
            Some(Outcome { code, .. }) => (code.as_deref().unwrap_or("error"), RED),
            None => ("---", RED),
        };
        let status = Escaped(status.as_bytes()).text();
        let what = Kind(arrow(operation.requests()), &name);
        write!(out, "{what}{:>6}  ", self.paint(color, status))?;
        self.span(operation.duration_ns, out)?;
        let mark = if operation.truncated { '~' } else { ' ' };
        let (request, response) = (Size(operation.request_size), Size(operation.response_size));
        self.sizes(format_args!("{request:>8} "), format_args!("{response:>8}{mark}"), out)?;
        write!(out, "{}", operation.system.as_str())?;
        if let Some(namespace) = &operation.namespace {
            write!(out, " {}", Escaped(namespace.as_bytes()))?;
        }
        writeln!(out, " {}{peer}", subject(operation))
    }

    /// How long it took, and two blanks.
    fn span(&self, duration_ns: Option<u64>, out: &mut impl Write) -> io::Result<()> {
        let span = duration_ns.map(Span);
        let span: &dyn fmt::Display = span.as_ref().map_or(&"-", |span| span);
        write!(out, "{:>8}  ", self.paint(duration_color(duration_ns), span))
    }

    /// The columns of both sizes, where they are shown, and two blanks behind each.
    fn sizes(
        &self,
        request: impl fmt::Display,
        response: impl fmt::Display,
        out: &mut impl Write,
    ) -> io::Result<()> {
        if self.layout.sizes { write!(out, "{request}  {response}  ") } else { Ok(()) }
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
                let kind = kind.map_or("not text".into(), |kind| Escaped(kind).text());
                writeln!(out, "    {mark} ({kind}, {})", Size(length(&body.bytes)))?;
            }
        }
        if body.truncated {
            writeln!(out, "    {mark} {}", self.paint(YELLOW, "… (cut)"))?;
        }
        Ok(())
    }

    const fn paint<T>(&self, color: Color, what: T) -> Painted<T> {
        Painted { color: self.color(color), what }
    }

    /// This color, if there are any.
    const fn color(&self, color: Color) -> Color {
        if self.view.color { color } else { PLAIN }
    }
}

/// What may be missing.
struct Maybe<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Maybe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |what| what.fmt(f))
    }
}

/// The other side: its address, and its name.
struct Peer<'a>(Address<'a>, Option<&'a str>);

enum Address<'a> {
    Tcp(SocketAddr),
    Unix(&'a str),
}

impl<'a> Peer<'a> {
    fn of(record: &'a Record) -> Option<Self> {
        let address = match &record.socket.as_ref()?.endpoints {
            Endpoints::Tcp { peer, .. } => Address::Tcp(*peer),
            // The path is the same for both.
            Endpoints::Unix { local, peer } => Address::Unix(peer.as_ref().or(local.as_ref())?),
        };
        Some(Self(address, record.peer.as_deref()))
    }
}

impl fmt::Display for Peer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(address, name) = self;
        match address {
            Address::Tcp(address) => write!(f, " @ {address}")?,
            Address::Unix(path) => write!(f, " @ {}", Escaped(path.as_bytes()))?,
        }
        name.map_or(Ok(()), |name| write!(f, " {}", Escaped(name.as_bytes())))
    }
}

/// What an operation is about, and what came of it.
fn subject(operation: &Operation) -> String {
    let text = operation.text.as_deref().or(operation.target.as_deref()).unwrap_or_default();
    let mut subject = Escaped(text.as_bytes()).text().into_owned();
    let outcome = operation.outcome.as_ref();
    let count = |n: Option<u64>, what| n.map(|n| format!("{n} {what}"));
    let counts = outcome.into_iter().flat_map(|outcome| {
        [count(outcome.returned, "returned"), count(outcome.affected, "affected")]
    });
    let counts = counts.flatten();
    let message =
        outcome.filter(|outcome| outcome.failed).and_then(|failed| failed.message.as_ref());
    let message = message.map(|message| Escaped(message.as_bytes()).to_string());
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

/// What stands where an exchange has its method: an arrow, and a word.
struct Kind<'a>(&'static str, &'a str);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(arrow, name) = self;
        write!(f, "{arrow} {name:<7}  ")
    }
}

/// What was asked for.
struct Target<'a>(Option<&'a Request>);

impl fmt::Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(request) = self.0 else { return f.write_str("(request not seen)") };
        let url = Url::of(request);
        let authority = url.authority.as_deref().map(|host| Escaped(host.as_bytes()));
        match (authority, url.path) {
            (Some(host), Some(path)) => {
                write!(f, "{host}{}", Escaped(path.as_bytes()))?;
                match url.query {
                    Some(query) => write!(f, "?{}", Escaped(query.as_bytes())),
                    None => Ok(()),
                }
            }
            (Some(host), None) if request.target.as_deref() == Some("*") => write!(f, "{host} *"),
            (Some(host), None) if request.target.is_none() => write!(f, "{host} ?"),
            _ => write!(f, "{}", Escaped(request.target.as_deref().unwrap_or("?").as_bytes())),
        }
    }
}

/// The size of a body as transferred; `~` marks one that was not seen whole.
struct BodySize<'a>(Option<&'a Body>);

impl fmt::Display for BodySize<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Body { size, truncated, .. }) => {
                write!(f, "{:>8}{}", Size(*size), if *truncated { '~' } else { ' ' })
            }
            None => write!(f, "{:>8} ", "-"),
        }
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
