//! Server-sent events (WHATWG HTML, section 9.2): the body of a response in, each event out when it is
//! complete, while the response goes on.

mod coded;
mod parser;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::{coded::Coded, parser::Parser};
use super::{Body, Content, Fields, Message, Options, Request, Role};
use crate::capture::{Call, ConnectionKey, Direction};

/// An event that a server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerEvent {
    /// The side that the traced process is on.
    pub role: Role,
    /// What was asked for, without its body and most of its header; absent when it was not seen.
    pub request: Option<Arc<Request>>,
    /// The stream of HTTP/2 that it was on.
    pub stream: Option<u32>,
    /// Its type. Absent when it has none, or bodies are not kept.
    pub name: Option<String>,
    /// Its identifier, if it has one of its own. Absent when bodies are not kept.
    pub id: Option<String>,
    /// Its data, lines joined by line feeds.
    pub body: Body,
}

impl ServerEvent {
    /// Which way it went.
    pub const fn direction(&self) -> Direction {
        self.role.requests().opposite()
    }
}

/// Who says what is told.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) connection: ConnectionKey,
    pub(super) role: Role,
    pub(super) request: Option<Arc<Request>>,
    pub(super) stream: Option<u32>,
}

/// The events of a response that is still coming.
#[derive(Debug)]
pub(super) struct Events {
    origin: Origin,
    coded: Coded,
    parser: Parser,
}

impl Events {
    /// Whether these are the headers of a response with events. A coding may be among those that are
    /// not known.
    pub(super) fn are_in(headers: &Fields) -> bool {
        headers.unknown() == 0
            && headers.first("content-type").is_some_and(|kind| {
                let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default();
                kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
            })
    }

    /// Of a body with these codings, applied in this order. Absent when they cannot be removed as it
    /// comes.
    pub(super) fn new(codings: &[String], options: &Options, origin: Origin) -> Option<Self> {
        let coded = Coded::new(codings)?;
        Some(Self { origin, coded, parser: Parser::new(options) })
    }

    /// The request as far as events show it.
    pub(super) fn request(request: &Request) -> Arc<Request> {
        let mut headers = Fields::default();
        for name in ["host", ":authority", ":scheme"] {
            if let Some(value) = request.headers.first(name) {
                headers.push(name, value);
            }
        }
        Arc::new(Request {
            method: request.method.clone(),
            target: request.target.clone(),
            version: request.version,
            headers,
            trailers: Fields::default(),
            body: Body::default(),
        })
    }

    /// The next bytes of the body. `call` moved them.
    pub(super) fn push(&mut self, call: &Call, bytes: &[u8], out: &mut Vec<Message>) {
        let Self { origin, coded, parser } = self;
        coded.push(bytes, &mut |plain| {
            parser.push(call, plain, &mut |began, event: parser::Event| {
                let event = ServerEvent {
                    role: origin.role,
                    request: origin.request.clone(),
                    stream: origin.stream,
                    name: event.name,
                    id: event.id,
                    body: event.body,
                };
                let content = Content::Event(Box::new(event));
                out.push(Message { connection: origin.connection, call: began, content });
            });
        });
    }

    /// Bytes of the body were lost.
    pub(super) fn lose(&mut self) {
        self.coded.lose();
        self.parser.lose();
    }

    /// Keeps no more: neither of the event that is not complete, nor what removes a coding.
    pub(super) fn give_up(&mut self) {
        self.lose();
    }

    /// How much memory it holds.
    pub(super) fn weight(&self) -> usize {
        self.coded.weight() + self.parser.weight()
    }
}
