//! What one side sends on a stream: header blocks and a body in, a request or a response out.

use std::sync::Arc;

use super::grpc;
use crate::{
    capture::Call,
    decode::{
        Body, Fields, Message, Options, Request, Response, Version, body::Gathering, sse::Events,
    },
};

/// A message while it comes.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) fields: Fields,
    pub(super) trailers: Fields,
    pub(super) body: Gathering,
    pub(super) messages: grpc::Counting,
    /// When the call returned that moved its end; `None` when that was not seen.
    pub(super) last: Option<u64>,
    pub(super) ended: bool,
    /// Those of a response.
    pub(super) events: Option<Box<Events>>,
}

impl Half {
    pub(super) fn new(fields: Fields, options: &Options) -> Self {
        Self {
            messages: grpc::Counting::of(&fields),
            fields,
            trailers: Fields::default(),
            body: Gathering::new(options),
            last: None,
            ended: false,
            events: None,
        }
    }

    /// How much memory it holds.
    pub(super) fn weight(&self) -> usize {
        let events = self.events.as_ref().map_or(0, |events| events.weight());
        self.fields.weight() + self.trailers.weight() + self.body.weight() + events
    }

    /// A block behind its head. RFC 9113, section 8.1: trailers end the message, and have no
    /// pseudo-header fields; what does neither was behind an interim response.
    pub(super) fn block(&mut self, fields: Fields, end: bool) {
        if !end || has_pseudo(&fields) {
            self.messages = grpc::Counting::of(&fields);
            self.fields = fields;
        } else if has_pseudo(&self.fields) || fields.unknown() == 0 {
            self.trailers = fields;
        } else {
            // Either of them may be the head.
            self.trailers = unknown(&fields);
            self.fields = unknown(&self.fields);
        }
    }

    /// The next bytes of its body. `call` moved them.
    pub(super) fn push(&mut self, call: &Call, bytes: &[u8], out: &mut Vec<Message>) {
        self.body.push(bytes);
        self.messages.push(bytes);
        self.events.iter_mut().for_each(|events| events.push(call, bytes, out));
    }

    /// The next bytes of its body were lost.
    pub(super) fn lose(&mut self, length: u64) {
        self.body.lose(length);
        self.messages.lose();
        self.events.iter_mut().for_each(|events| events.lose());
    }

    pub(super) fn end(&mut self, call: Option<&Call>) {
        if !self.ended {
            self.ended = true;
            self.last = call.map(|call| call.returned);
            if call.is_none() {
                self.body.cut();
            }
        }
    }

    pub(super) fn request(self) -> Request {
        let method = self.text(":method");
        let connect = method.as_deref() == Some("CONNECT") && self.fields.first(":path").is_none();
        let target = self.text(if connect { ":authority" } else { ":path" });
        let (headers, trailers, body) = self.content();
        Request { method, target, version: Version::Http2, headers, trailers, body }
    }

    pub(super) fn response(self) -> Response {
        let status = status(&self.fields);
        let (headers, trailers, body) = self.content();
        Response { status, version: Version::Http2, headers, trailers, body }
    }

    /// The request as far as events show it.
    pub(super) fn asked(&self) -> Arc<Request> {
        let connect = is_connect(&self.fields) && self.fields.first(":path").is_none();
        Events::request(&Request {
            method: self.text(":method"),
            target: self.text(if connect { ":authority" } else { ":path" }),
            version: Version::Http2,
            headers: self.fields.clone(),
            trailers: Fields::default(),
            body: Body::default(),
        })
    }

    fn text(&self, name: &str) -> Option<String> {
        Some(String::from_utf8_lossy(self.fields.first(name)?).into_owned())
    }

    /// The codings of the body, in the order applied.
    pub(super) fn codings(&self) -> Vec<String> {
        self.fields.codings("content-encoding")
    }

    fn content(self) -> (Fields, Fields, Body) {
        let body = self.body.finish(|| self.fields.codings("content-encoding"));
        (self.fields, self.trailers, body)
    }
}

/// Those of a block that was lost: nothing is known of them.
pub(super) fn lost() -> Fields {
    let mut fields = Fields::default();
    fields.lose(1);
    fields
}

/// Only the number of them.
pub(super) fn unknown(fields: &Fields) -> Fields {
    let mut unknown = Fields::default();
    unknown.lose(u32::try_from(fields.len()).unwrap_or(u32::MAX).saturating_add(fields.unknown()));
    unknown
}

pub(super) fn has_pseudo(fields: &Fields) -> bool {
    fields.iter().any(|(name, _)| name.starts_with(':'))
}

pub(super) fn status(fields: &Fields) -> Option<u16> {
    std::str::from_utf8(fields.first(":status")?).ok()?.parse().ok()
}

pub(super) fn is_connect(fields: &Fields) -> bool {
    fields.first(":method") == Some(b"CONNECT")
}
