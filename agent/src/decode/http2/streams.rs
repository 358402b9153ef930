//! Header blocks and bodies by stream in, exchanges out. A stream's number is never used again, so
//! that it pairs a request with its response whatever was lost.

use std::collections::BTreeMap;

use super::{grpc, hpack::List};
use crate::{
    capture::{Call, ConnectionKey, Direction},
    decode::{
        Body, Content, Exchange, Fields, Message, Options, Request, Response, Role, Version,
        body::Gathering, moved,
    },
};

/// Streams that a connection may have open.
const MAX_OPEN: usize = 1024;
/// Bytes of heads and bodies that the open streams of a connection may hold.
const MAX_WEIGHT: usize = 16 << 20;
/// Streams that begin after a loss before those that may have ended in it are given up.
const PATIENCE: usize = 16;

#[derive(Debug)]
struct Half {
    fields: Fields,
    trailers: Fields,
    weight: usize,
    body: Gathering,
    messages: grpc::Counting,
    last: Option<u64>,
    ended: bool,
}

impl Half {
    fn end(&mut self, call: Option<&Call>) {
        if !self.ended {
            self.ended = true;
            self.last = call.map(|call| call.returned);
            if call.is_none() {
                self.body.cut();
            }
        }
    }
}

#[derive(Debug)]
struct Stream {
    began: Call,
    request: Option<Half>,
    response: Option<Half>,
    error: Option<String>,
    /// Its end may have been lost; how many streams began since.
    doubt: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Streams {
    options: Options,
    connection: ConnectionKey,
    pub(super) role: Role,
    open: BTreeMap<u32, Stream>,
    begun: bool,
}

impl Streams {
    pub(super) fn new(options: &Options, connection: ConnectionKey, role: Role) -> Self {
        Self { options: *options, connection, role, open: BTreeMap::new(), begun: false }
    }

    pub(super) const fn is_begun(&self) -> bool {
        self.begun
    }

    pub(super) fn weight(&self) -> usize {
        let half =
            |half: &Option<Half>| half.as_ref().map_or(0, |half| half.weight + half.body.weight());
        self.open.values().map(|stream| 200 + half(&stream.request) + half(&stream.response)).sum()
    }

    fn half(&mut self, id: u32, requests: bool) -> Option<&mut Half> {
        let stream = self.open.get_mut(&id)?;
        stream.doubt = None;
        if requests { stream.request.as_mut() } else { stream.response.as_mut() }
    }

    /// A header block, of a request or of a response.
    pub(super) fn block(
        &mut self,
        id: u32,
        requests: bool,
        calls: (Call, &Call),
        (list, end): (Option<List>, bool),
        out: &mut Vec<Message>,
    ) {
        let mut fields = fields(list);
        let (began, call) = calls;
        let pseudo = fields.iter().any(|(name, _)| name.starts_with(':'));
        let status = fields.first(":status").and_then(number::<u16>);
        if status.is_some_and(|status| status < 200) && !end {
            return;
        }
        let open = self.open.contains_key(&id);
        match self.half(id, requests) {
            // RFC 9113, section 8.1: what comes behind the head are trailers.
            Some(half) if !pseudo => half.trailers = fields,
            Some(half) => half.fields = fields,
            // Trailers of a message whose head was not seen.
            None if !pseudo && end && (fields.unknown() == 0 || !open) => {}
            None => {
                self.begun = true;
                self.bound(out);
                // A head, or trailers behind one that was lost: then none of it may be shown as a head.
                let unclear = !pseudo && end;
                if unclear {
                    let count = u32::try_from(fields.len()).unwrap_or(u32::MAX);
                    let unknown = fields.unknown().saturating_add(count);
                    fields = Fields::default();
                    fields.lose(unknown);
                }
                let tunnel = fields.first(":method") == Some(b"CONNECT");
                self.begin(id, requests, began, fields, tunnel);
                if let Some(half) = self.half(id, requests).filter(|_| unclear) {
                    half.body.cut();
                }
            }
        }
        if end {
            self.end(id, requests, call, out);
        }
    }

    fn begin(&mut self, id: u32, requests: bool, began: Call, fields: Fields, tunnel: bool) {
        let weight = fields.iter().map(|(name, value)| name.len() + value.len() + 8).sum();
        let new = Stream { began, request: None, response: None, error: None, doubt: None };
        if !self.open.contains_key(&id) {
            self.open.values_mut().for_each(|stream| {
                stream.doubt = stream.doubt.map(|since| since + 1);
            });
        }
        let stream = self.open.entry(id).or_insert(new);
        let connect = |half: &Half| half.fields.first(":method") == Some(b"CONNECT");
        let tunnel = tunnel || stream.request.as_ref().is_some_and(connect);
        let mut options = self.options;
        options.keep_bodies &= !tunnel;
        let half = Half {
            messages: grpc::Counting::of(&fields),
            fields,
            trailers: Fields::default(),
            weight,
            body: Gathering::new(&options),
            last: None,
            ended: false,
        };
        if requests {
            stream.request = Some(half);
            stream.began = began;
        } else {
            stream.response = Some(half);
        }
    }

    pub(super) fn data(&mut self, id: u32, requests: bool, bytes: &[u8]) {
        if let Some(half) = self.half(id, requests).filter(|half| !half.ended) {
            half.body.push(bytes);
            half.messages.push(bytes);
        }
    }

    pub(super) fn end(&mut self, id: u32, requests: bool, call: &Call, out: &mut Vec<Message>) {
        if let Some(half) = self.half(id, requests) {
            half.end(Some(call));
        }
        self.emit(out);
    }

    pub(super) fn reset(&mut self, id: u32, code: u32, out: &mut Vec<Message>) {
        if let Some(mut stream) = self.open.remove(&id) {
            // RFC 9113, section 8.1: NO_ERROR behind a whole response ends the request only.
            stream.error = (code != 0).then(|| error_name(code));
            self.hand_out(id, stream, out);
        }
    }

    /// RFC 9113, section 6.8: requests on later streams "were not or will not be processed".
    pub(super) fn go_away(&mut self, last: u32, out: &mut Vec<Message>) {
        for (id, mut stream) in self.open.split_off(&last.saturating_add(1)) {
            stream.error = Some("GOAWAY".to_owned());
            self.hand_out(id, stream, out);
        }
    }

    /// Bytes of a body were lost.
    pub(super) fn lose_data(&mut self, id: u32, requests: bool, length: u64) {
        if let Some(half) = self.half(id, requests).filter(|half| !half.ended) {
            half.body.lose(length);
            half.messages.lose();
        }
    }

    /// Frames were lost: bodies have holes, and streams may have ended.
    pub(super) fn lose_frames(&mut self, requests: bool, out: &mut Vec<Message>) {
        for stream in self.open.values_mut() {
            let half = if requests { &mut stream.request } else { &mut stream.response };
            match half {
                Some(half) if half.ended => continue,
                Some(half) => {
                    half.body.cut();
                    half.messages.lose();
                }
                None => {}
            }
            stream.doubt = Some(0);
        }
        self.emit(out);
    }

    pub(super) fn give_up(&mut self) {
        for stream in self.open.values_mut() {
            let halves = stream.request.iter_mut().chain(&mut stream.response);
            halves.for_each(|half| half.body.give_up());
        }
    }

    pub(super) fn finish(&mut self, out: &mut Vec<Message>) {
        for (id, stream) in std::mem::take(&mut self.open) {
            self.hand_out(id, stream, out);
        }
    }

    fn bound(&mut self, out: &mut Vec<Message>) {
        if self.open.len() >= MAX_OPEN
            && let Some((id, stream)) = self.open.pop_first()
        {
            self.hand_out(id, stream, out);
        }
        if self.weight() > MAX_WEIGHT {
            self.give_up();
        }
        if self.weight() > MAX_WEIGHT {
            self.finish(out);
        }
    }

    fn emit(&mut self, out: &mut Vec<Message>) {
        let complete = |stream: &Stream| {
            let doubt = stream.doubt.is_some();
            let request = stream.request.as_ref().is_none_or(|half| half.ended || doubt);
            let response = stream.response.as_ref().is_some_and(|half| half.ended);
            request && response || stream.doubt.is_some_and(|since| since >= PATIENCE)
        };
        let ended: Vec<u32> =
            self.open.iter().filter(|(_, stream)| complete(stream)).map(|(id, _)| *id).collect();
        for id in ended {
            if let Some(stream) = self.open.remove(&id) {
                self.hand_out(id, stream, out);
            }
        }
    }

    fn hand_out(&self, id: u32, mut stream: Stream, out: &mut Vec<Message>) {
        stream.request.iter_mut().chain(&mut stream.response).for_each(|half| half.end(None));
        let grpc = grpc::Grpc::of(
            stream.request.as_ref().map(|half| (&half.fields, &half.messages)),
            stream.response.as_ref().map(|half| (&half.fields, &half.trailers, &half.messages)),
        );
        let began = stream.request.as_ref().map(|_| moved(&stream.began, self.role.requests()));
        let ended = stream.response.as_ref().and_then(|half| half.last);
        let mut trailers = Fields::default();
        let request = stream.request.map(request);
        let response = stream.response.map(|mut half| {
            trailers = std::mem::take(&mut half.trailers);
            response(half)
        });
        let exchange = Exchange {
            role: self.role,
            duration_ns: began.zip(ended).and_then(|(began, ended)| ended.checked_sub(began)),
            request,
            response,
            stream: Some(id),
            trailers,
            error: stream.error,
            grpc: grpc.map(Box::new),
        };
        let content = Content::Http(Box::new(exchange));
        out.push(Message { connection: self.connection, call: stream.began, content });
    }
}

fn number<T: std::str::FromStr>(value: &[u8]) -> Option<T> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn text(fields: &Fields, name: &str) -> String {
    fields.first(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

fn body(half: Half) -> (Fields, Body) {
    let codings: Vec<String> = half
        .fields
        .all("content-encoding")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(|coding| String::from_utf8_lossy(coding.trim_ascii()).to_ascii_lowercase())
        .collect();
    (half.fields, half.body.finish(&codings))
}

fn request(half: Half) -> Request {
    let (headers, body) = body(half);
    let method = text(&headers, ":method");
    let connect = method == "CONNECT" && headers.first(":path").is_none();
    let target = text(&headers, if connect { ":authority" } else { ":path" });
    Request { method, target, version: Version::Http2, headers, body }
}

fn response(half: Half) -> Response {
    let (headers, body) = body(half);
    let status = headers.first(":status").and_then(number).unwrap_or_default();
    Response { status, version: Version::Http2, headers, body }
}

/// Of a block that was lost, nothing is known.
fn fields(list: Option<List>) -> Fields {
    let mut fields = Fields::default();
    let Some(list) = list else {
        fields.lose(1);
        return fields;
    };
    fields.lose(list.omitted);
    for field in list.fields {
        match (&field.name, &field.value) {
            (Some(name), Some(value)) => fields.push(&String::from_utf8_lossy(name), value),
            _ => fields.lose(1),
        }
    }
    fields
}

/// RFC 9113, section 7.
fn error_name(code: u32) -> String {
    let names = [
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED",
    ];
    let name = usize::try_from(code).ok().and_then(|code| names.get(code));
    name.map_or_else(|| code.to_string(), ToString::to_string)
}

/// The direction of a header block, as its fields tell.
pub(super) fn direction(list: &List, at: Direction) -> Option<Role> {
    let requests = list.fields.iter().find_map(|field| match field.name.as_deref()? {
        b":method" | b":scheme" | b":path" | b":authority" => Some(at),
        b":status" => Some(at.opposite()),
        _ => None,
    })?;
    Some(Role::of_requests(requests))
}
