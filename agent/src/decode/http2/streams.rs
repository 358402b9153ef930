//! Header blocks and bodies by stream in, exchanges out. A stream's number is never used again, so
//! that it pairs a request with its response whatever was lost.

use std::collections::BTreeMap;

use super::{
    errors, grpc,
    half::{self, Half},
    tunnel,
};
use crate::{
    capture::{Call, ConnectionKey, Direction},
    decode::{
        Content, Exchange, Fields, Message, Options, Role, moved,
        protocol::{Flow, Protocol as _},
        sse::{Events, Origin},
        websocket::WebSockets,
    },
};

/// Streams that a connection may have open.
const MAX_OPEN: usize = 1024;
/// Bytes of heads and bodies that the open streams of a connection may hold.
const MAX_WEIGHT: usize = 16 << 20;
/// Streams that begin after a loss before those that may have ended in it are given up.
const PATIENCE: usize = 16;

#[derive(Debug)]
struct Stream {
    began: Call,
    request: Option<Half>,
    response: Option<Half>,
    error: Option<String>,
    /// What goes through it instead of bodies, as long as that is WebSocket; the rest is counted.
    tunnel: Option<Box<WebSockets>>,
    /// Its end may have been lost; how many streams began since.
    doubt: Option<usize>,
}

impl Stream {
    const fn half(&mut self, requests: bool) -> Option<&mut Half> {
        if requests { self.request.as_mut() } else { self.response.as_mut() }
    }

    fn weight(&self) -> usize {
        let halves = self.request.iter().chain(&self.response).map(Half::weight);
        200 + halves.sum::<usize>() + self.tunnel.as_ref().map_or(0, |tunnel| tunnel.held())
    }
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
        self.open.values().map(Stream::weight).sum()
    }

    fn half(&mut self, id: u32, requests: bool) -> Option<&mut Half> {
        let stream = self.open.get_mut(&id)?;
        stream.doubt = None;
        stream.half(requests)
    }

    /// A header block, of a request or of a response.
    pub(super) fn block(
        &mut self,
        id: u32,
        requests: bool,
        (began, call): (Call, &Call),
        (fields, end): (Fields, bool),
        out: &mut Vec<Message>,
    ) {
        let interim = half::status(&fields).is_some_and(|status| status < 200);
        if interim && !end {
            return;
        }
        let open = self.open.contains_key(&id);
        let pseudo = half::has_pseudo(&fields);
        match self.half(id, requests) {
            Some(half) => half.block(fields, end),
            // Trailers of a message whose head was not seen.
            None if !pseudo && end && (fields.unknown() == 0 || !open) => {}
            None => {
                self.begun = true;
                self.bound(out);
                // A head, or trailers behind one that was lost: then none of it may be shown as a head.
                let unclear = !pseudo && end;
                let fields = if unclear { half::unknown(&fields) } else { fields };
                self.begin(id, requests, began, fields);
                if let Some(half) = self.half(id, requests).filter(|_| unclear) {
                    half.body.cut();
                }
            }
        }
        if end {
            self.end(id, requests, call, out);
        } else if !requests {
            self.open_tunnel(id);
            self.listen(id);
        }
    }

    /// Both sides agreed on what goes through a stream.
    fn open_tunnel(&mut self, id: u32) {
        let (who, options) = ((self.connection, self.role), self.options);
        if let Some(stream) = self.open.get_mut(&id)
            && let (Some(request), Some(response)) = (&stream.request, &stream.response)
        {
            stream.tunnel = tunnel::agreed(&options, who, id, (&request.fields, &response.fields));
        }
    }

    /// The events of a response whose head came.
    fn listen(&mut self, id: u32) {
        let (connection, role) = (self.connection, self.role);
        let Some(stream) = self.open.get_mut(&id) else { return };
        let Some(half) = stream.response.as_mut().filter(|half| Events::are_in(&half.fields))
        else {
            return;
        };
        let known = stream.request.as_ref().filter(|half| half.fields.unknown() == 0);
        let request = known.map(Half::asked);
        let origin = Origin { connection, role, request, stream: Some(id) };
        half.events = Events::new(&half.codings(), &self.options, origin).map(Box::new);
    }

    fn begin(&mut self, id: u32, requests: bool, began: Call, fields: Fields) {
        let new =
            Stream { began, request: None, response: None, error: None, tunnel: None, doubt: None };
        if !self.open.contains_key(&id) {
            self.open.values_mut().for_each(|stream| {
                stream.doubt = stream.doubt.map(|since| since + 1);
            });
        }
        let stream = self.open.entry(id).or_insert(new);
        let asked = stream.request.as_ref().is_some_and(|half| half::is_connect(&half.fields));
        let mut options = self.options;
        // What goes through a tunnel is no body.
        options.keep_bodies &= !(asked || half::is_connect(&fields));
        let half = Half::new(fields, &options);
        if requests {
            stream.request = Some(half);
            stream.began = began;
        } else {
            stream.response = Some(half);
        }
    }

    pub(super) fn data(
        &mut self,
        id: u32,
        requests: bool,
        (call, bytes): (&Call, &[u8]),
        out: &mut Vec<Message>,
    ) {
        let at = self.at(requests);
        let Some(stream) = self.coming(id, requests) else { return };
        stream.half(requests).iter_mut().for_each(|half| half.push(call, bytes, out));
        if let Some(tunnel) = &mut stream.tunnel
            && let Flow::Over { .. } = tunnel.push(call, at, bytes, out)
        {
            stream.tunnel = None;
        }
    }

    /// A stream of which one side is not over.
    fn coming(&mut self, id: u32, requests: bool) -> Option<&mut Stream> {
        let stream = self.open.get_mut(&id)?;
        stream.doubt = None;
        let ended = stream.half(requests)?.ended;
        (!ended).then_some(stream)
    }

    /// Which way requests go, or responses.
    const fn at(&self, requests: bool) -> Direction {
        let at = self.role.requests();
        if requests { at } else { at.opposite() }
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
            stream.error = (code != 0).then(|| errors::name(code));
            self.hand_out(id, stream, out);
        }
    }

    /// RFC 9113, section 6.8: requests on later streams "were not or will not be processed".
    pub(super) fn go_away(&mut self, last: u32, out: &mut Vec<Message>) {
        // Those with even numbers are the server's own.
        let refused: Vec<u32> = self
            .open
            .range(last.saturating_add(1)..)
            .map(|(id, _)| *id)
            .filter(|id| id % 2 == 1)
            .collect();
        for id in refused {
            let Some(mut stream) = self.open.remove(&id) else { continue };
            stream.error = Some("GOAWAY".to_owned());
            self.hand_out(id, stream, out);
        }
    }

    /// Bytes of a body were lost.
    pub(super) fn lose_data(
        &mut self,
        id: u32,
        requests: bool,
        length: u64,
        out: &mut Vec<Message>,
    ) {
        let at = self.at(requests);
        let Some(stream) = self.coming(id, requests) else { return };
        stream.half(requests).iter_mut().for_each(|half| half.lose(length));
        stream.tunnel.iter_mut().for_each(|tunnel| tunnel.gap(at, length, out));
    }

    /// Frames were lost: bodies have holes, and streams may have ended.
    pub(super) fn lose_frames(&mut self, requests: bool, out: &mut Vec<Message>) {
        let at = self.at(requests);
        for stream in self.open.values_mut() {
            match stream.half(requests) {
                Some(half) if half.ended => continue,
                Some(half) => {
                    half.body.cut();
                    half.messages.lose();
                    half.events.iter_mut().for_each(|events| events.lose());
                }
                None => {}
            }
            // Nobody knows how many.
            stream.tunnel.iter_mut().for_each(|tunnel| tunnel.gap(at, 0, out));
            stream.doubt = Some(0);
        }
        self.emit(out);
    }

    pub(super) fn give_up(&mut self) {
        for stream in self.open.values_mut() {
            let halves = stream.request.iter_mut().chain(&mut stream.response);
            halves.for_each(|half| {
                half.body.give_up();
                half.events.iter_mut().for_each(|events| events.give_up());
            });
            stream.tunnel.iter_mut().for_each(|tunnel| tunnel.give_up(&mut Vec::new()));
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
        stream.tunnel.iter_mut().for_each(|tunnel| tunnel.cut(out));
        let grpc = grpc::Grpc::of(
            stream.request.as_ref().map(|half| (&half.fields, &half.messages)),
            stream.response.as_ref().map(|half| (&half.fields, &half.trailers, &half.messages)),
        );
        let began = stream.request.as_ref().map(|_| moved(&stream.began, self.role.requests()));
        let ended = stream.response.as_ref().and_then(|half| half.last);
        let exchange = Exchange {
            role: self.role,
            duration_ns: began.zip(ended).and_then(|(began, ended)| ended.checked_sub(began)),
            request: stream.request.map(Half::request),
            response: stream.response.map(Half::response),
            stream: Some(id),
            error: stream.error,
            grpc: grpc.map(Box::new),
        };
        let content = Content::Http(Box::new(exchange));
        out.push(Message { connection: self.connection, call: stream.began, content });
    }
}

/// The direction of a header block, as its fields tell.
pub(super) fn direction(fields: &Fields, at: Direction) -> Option<Role> {
    let requests = fields.iter().find_map(|(name, _)| match name {
        ":method" | ":scheme" | ":path" | ":authority" => Some(at),
        ":status" => Some(at.opposite()),
        _ => None,
    })?;
    Some(Role::of_requests(requests))
}
