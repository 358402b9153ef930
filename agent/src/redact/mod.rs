//! Messages in, the same messages without secrets out: each byte of a secret becomes `*`, so that
//! lengths and offsets stay true. What is taken for a secret is in docs/redaction.md.
//!
//! Nothing is copied where nothing is masked.

mod clean;
mod names;
mod operation;
mod protobuf;
mod scanner;
#[cfg(test)]
mod tests;
mod wire;
mod word;

use std::{ops::Range, sync::Arc};

use bytes::{Bytes, BytesMut};
use foldhash::{HashMap, HashMapExt as _};
use regex::bytes::{Regex, RegexBuilder};

use self::{clean::Clean, names::Kind, scanner::Scanner, wire::Plaintext, word::Word};
use crate::{
    capture::ConnectionKey,
    decode::{Body, Content, Exchange, Fields, Message, ServerEvent, WebSocket},
};

/// What stands for each byte of a secret.
const MASK: u8 = b'*';
/// Bytes that a compiled pattern may take, and each of its caches.
const PATTERN_LIMIT: usize = 1 << 20;

/// What is masked beside the known secrets.
#[derive(Clone, Debug, Default)]
pub struct Redaction {
    /// All that matches one of these.
    pub patterns: Vec<Regex>,
}

/// A pattern of the command line.
pub fn pattern(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(PATTERN_LIMIT).dfa_size_limit(PATTERN_LIMIT).build()
}

/// Masks the secrets of messages.
#[derive(Debug)]
pub struct Redactor {
    patterns: Patterns,
    clean: Clean,
    /// Where the search in undecoded plaintext is.
    streams: HashMap<ConnectionKey, Plaintext>,
}

impl Redactor {
    /// One that has seen nothing yet.
    pub fn new(redaction: Redaction) -> Self {
        Self {
            patterns: Patterns(redaction.patterns),
            clean: Clean::new(),
            streams: HashMap::new(),
        }
    }

    /// Masks the secrets of a message, which is the next one of its connection.
    pub fn redact(&mut self, message: &mut Message) {
        match &mut message.content {
            Content::Data { direction, bytes, .. } => {
                let plaintext = self.streams.entry(message.connection).or_default();
                plaintext.mask(*direction, bytes, &self.patterns);
            }
            Content::Http(exchange) => self.exchange(exchange),
            Content::Operation(operation) => self.operation(operation),
            Content::WebSocket(websocket) => self.websocket(websocket),
            Content::Event(event) => self.event(event),
            // A value may go on behind lost bytes, and is masked on.
            Content::Gap { direction, length, .. } => {
                if let Some(plaintext) = self.streams.get_mut(&message.connection) {
                    plaintext.gap(*direction, *length);
                }
            }
            Content::Opaque { .. } | Content::Closed { .. } => {}
        }
    }

    /// The connection ended.
    pub fn forget(&mut self, connection: ConnectionKey) {
        self.streams.remove(&connection);
    }

    fn exchange(&mut self, exchange: &mut Exchange) {
        if let Some(request) = &mut exchange.request {
            if let Some(target) = &mut request.target {
                self.string(target);
            }
            self.body(&request.headers, &mut request.body);
            self.fields(&mut request.headers);
            self.fields(&mut request.trailers);
        }
        if let Some(response) = &mut exchange.response {
            self.body(&response.headers, &mut response.body);
            self.fields(&mut response.headers);
            self.fields(&mut response.trailers);
        }
        if let Some(grpc) = &mut exchange.grpc {
            grpc.message.iter_mut().for_each(|message| self.string(message));
            grpc.sent.iter_mut().chain(&mut grpc.received).for_each(|value| self.value(value));
        }
    }

    fn fields(&mut self, fields: &mut Fields) {
        let Self { patterns, clean, .. } = self;
        fields.each_value(|name, value| {
            if !clean.has(name, value) && !field(name, value, patterns) {
                clean.add(name, value);
            }
        });
    }

    fn websocket(&self, websocket: &mut WebSocket) {
        self.content(false, &mut websocket.body);
        let close = websocket.close.as_mut();
        if let Some(reason) = close.and_then(|close| close.reason.as_mut()) {
            self.string(reason);
        }
    }

    fn event(&self, event: &mut ServerEvent) {
        self.content(false, &mut event.body);
        event.name.iter_mut().chain(&mut event.id).for_each(|text| self.string(text));
        // The events of a response share it.
        let request = event.request.as_mut().map(Arc::make_mut);
        if let Some(target) = request.and_then(|request| request.target.as_mut()) {
            self.string(target);
        }
    }

    fn body(&self, headers: &Fields, body: &mut Body) {
        let form = headers.first("content-type").is_some_and(|value| {
            let form = b"application/x-www-form-urlencoded";
            value.get(..form.len()).is_some_and(|start| start.eq_ignore_ascii_case(form))
        });
        self.content(form, body);
    }

    fn content(&self, form: bool, body: &mut Body) {
        if body.bytes.is_empty() {
            return;
        }
        let places = Scanner::whole(form, &body.bytes);
        mask_bytes(&mut body.bytes, &places);
        self.own_bytes(&mut body.bytes);
    }

    /// Known secrets, and the patterns.
    fn string(&self, text: &mut String) {
        let places = Scanner::whole(false, text.as_bytes());
        mask_string(text, &places);
        let places = self.patterns.own(text.as_bytes());
        mask_string(text, &places);
    }

    fn own_bytes(&self, bytes: &mut Bytes) {
        let places = self.patterns.own(bytes);
        mask_bytes(bytes, &places);
    }
}

/// Those of the command line.
#[derive(Debug, Default)]
struct Patterns(Vec<Regex>);

impl Patterns {
    /// What they match.
    fn own(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let matches = self.0.iter().flat_map(|pattern| pattern.find_iter(bytes));
        matches.map(|found| found.range()).filter(|range| !range.is_empty()).collect()
    }
}

/// Masks what is secret in the value of a header field; whether anything is.
fn field(name: &str, value: &mut [u8], patterns: &Patterns) -> bool {
    let kind = names::kind(Word::of(name).as_bytes(), false);
    // A port of a host that is named like a secret.
    let port = kind.is_none() && name == "host";
    let known = if port { Vec::new() } else { field_places(kind, value) };
    known.iter().for_each(|place| fill(value, place.clone()));
    let own = patterns.own(value);
    own.iter().for_each(|place| fill(value, place.clone()));
    !known.is_empty() || !own.is_empty()
}

/// Where the secrets of a header field are.
fn field_places(kind: Option<Kind>, value: &[u8]) -> Vec<Range<usize>> {
    let start = match kind {
        Some(Kind::Value) => 0,
        Some(Kind::Credentials) => names::scheme(value),
        Some(kind @ (Kind::Cookies | Kind::SetCookie)) => {
            return Scanner::cookies(kind).scan(value);
        }
        None => return Scanner::whole(false, value),
    };
    std::iter::once(start..value.len()).collect()
}

fn fill(bytes: &mut [u8], place: Range<usize>) {
    if let Some(secret) = bytes.get_mut(place) {
        secret.fill(MASK);
    }
}

fn mask_bytes(bytes: &mut Bytes, places: &[Range<usize>]) {
    if places.is_empty() {
        return;
    }
    // In place, if nobody else has them.
    let whole = std::mem::take(bytes);
    let mut changed = whole.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
    places.iter().for_each(|place| fill(&mut changed, place.clone()));
    *bytes = changed.freeze();
}

fn mask_string(text: &mut String, places: &[Range<usize>]) {
    if places.is_empty() {
        return;
    }
    let mut bytes = std::mem::take(text).into_bytes();
    places.iter().for_each(|place| fill(&mut bytes, place.clone()));
    // A pattern may match a part of a character.
    *text = String::from_utf8(bytes)
        .unwrap_or_else(|broken| String::from_utf8_lossy(broken.as_bytes()).into_owned());
}
