//! A record in, a line of JSON out: the schema `tlstap/v1`, docs/output.md.

mod body;
mod compact;
pub(super) mod files;
pub(super) mod finding;
mod grpc;
mod http;
mod messaging;
mod network;
mod operation;
mod origin;
mod origins;
pub(super) mod protobuf;
mod sse;
#[cfg(test)]
mod tests;
mod websocket;
mod writer;

use std::io::{self, Write};

use serde::Serialize;

pub(super) use self::writer::Json;
use self::{
    body::{Asked, GraphQl},
    grpc::Rpc,
    http::{Http, OnStream, Payload, RequestJson, ResponseJson, StreamJson, UrlJson},
    operation::{Failure, Part},
    origin::{Caller, Owner, Place},
    sse::EventJson,
    websocket::WebSocketJson,
};
use super::clock::Clock;
use crate::{
    capture::{Direction, GapReason},
    decode::{Content, Exchange, Message, Operation, Role, ServerEvent, Version},
    enrich::Record,
};

/// The name of what every line follows.
pub(super) const SCHEMA: &str = "tlstap/v1";

/// A record, for those who look at its fields; [`Json`] writes the same.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    schema: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    #[serde(flatten)]
    owner: Owner<'a>,
    #[serde(flatten)]
    caller: Caller<'a>,
    #[serde(flatten)]
    place: Place<'a>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

/// What differs by type.
#[derive(Serialize)]
#[serde(untagged)]
enum Rest<'a> {
    Data {
        offset: u64,
        length: usize,
        #[serde(flatten)]
        payload: Payload<'a>,
    },
    Gap {
        offset: u64,
        length: u64,
        reason: GapReason,
    },
    Http {
        kind: Role,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_ns: Option<u64>,
        http: Http<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<UrlJson<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        rpc: Option<Box<Rpc<'a>>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        graphql: Option<Box<GraphQl>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Failure<'a>>,
    },
    Operation {
        kind: Role,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_ns: Option<u64>,
        #[serde(flatten)]
        part: Part<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Failure<'a>>,
    },
    WebSocket {
        kind: Role,
        websocket: WebSocketJson<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        http: Option<OnStream>,
    },
    Event {
        kind: Role,
        sse: EventJson<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        http: Option<OnStream>,
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<UrlJson<'a>>,
    },
    Opaque {
        bytes: Counts,
    },
}

#[derive(Serialize)]
struct Counts {
    transmit: u64,
    receive: u64,
}

impl<'a> Line<'a> {
    /// `None` for what is not shown.
    pub(super) fn of(record: &'a Record, bodies: bool) -> Option<Self> {
        let Shown { kind, direction, rest } = Shown::of(&record.message, bodies)?;
        Some(Self {
            schema: SCHEMA,
            kind,
            timestamp: time(record.timestamp_ns).ok()?,
            owner: Owner::of(record),
            caller: Caller::of(record),
            place: Place::of(record, direction),
            rest,
        })
    }
}

/// Nanoseconds since the epoch as RFC 3339 in UTC.
pub(super) fn time(ns: i64) -> io::Result<String> {
    let mut time = Vec::new();
    timestamp(&mut Clock::default(), ns, &mut time)?;
    String::from_utf8(time).map_err(io::Error::other)
}

/// RFC 3339 in UTC with nanoseconds.
fn timestamp(clock: &mut Clock, ns: i64, out: &mut impl Write) -> io::Result<()> {
    let (second, rest) = clock.at(ns, |time| time.to_string());
    out.write_all(second.trim_end_matches('Z').as_bytes())?;
    write!(out, ".{rest:09}Z")
}

/// A message, as far as it differs by type.
struct Shown<'a> {
    /// The type.
    kind: &'static str,
    direction: Option<Direction>,
    rest: Rest<'a>,
}

impl<'a> Shown<'a> {
    /// `None` for what is not shown.
    fn of(message: &'a Message, bodies: bool) -> Option<Self> {
        let (kind, direction, rest) = match &message.content {
            Content::Data { direction, offset, bytes } => {
                let payload = Payload::of(bytes, false);
                let rest = Rest::Data { offset: *offset, length: bytes.len(), payload };
                ("data", Some(*direction), rest)
            }
            &Content::Gap { direction, offset, length, reason } => {
                ("gap", Some(direction), Rest::Gap { offset, length, reason })
            }
            Content::Http(exchange) => {
                let kind = if exchange.grpc.is_some() { "grpc" } else { "http" };
                (kind, None, Rest::of_exchange(exchange, bodies))
            }
            Content::Operation(operation) => {
                (operation.system.as_str(), None, Rest::of_operation(operation))
            }
            Content::WebSocket(websocket) => {
                let rest = Rest::WebSocket {
                    kind: websocket.role,
                    websocket: WebSocketJson::of(websocket, bodies),
                    http: websocket.stream.map(OnStream::of),
                };
                ("websocket", Some(websocket.direction), rest)
            }
            Content::Event(event) => {
                ("sse", Some(event.direction()), Rest::of_event(event, bodies))
            }
            &Content::Opaque { bytes: [transmit, receive] } => {
                ("opaque", None, Rest::Opaque { bytes: Counts { transmit, receive } })
            }
            Content::Closed { .. } => return None,
        };
        Some(Self { kind, direction, rest })
    }
}

impl<'a> Rest<'a> {
    fn of_operation(operation: &'a Operation) -> Self {
        Self::Operation {
            kind: operation.role,
            duration_ns: operation.duration_ns,
            part: Part::of(operation),
            error: Failure::of(operation),
        }
    }

    fn of_event(event: &'a ServerEvent, bodies: bool) -> Self {
        Self::Event {
            kind: event.role,
            sse: EventJson::of(event, bodies),
            http: event.stream.map(OnStream::of),
            url: event.request.as_deref().and_then(UrlJson::of),
        }
    }

    fn of_exchange(exchange: &'a Exchange, bodies: bool) -> Self {
        let request = exchange.request.as_ref();
        let response = exchange.response.as_ref();
        let version = request
            .map(|request| request.version)
            .or(response.map(|response| response.version))
            .map(Version::as_str);
        let (rpc, graphql) = match request.and_then(Asked::of) {
            _ if exchange.grpc.is_some() => (exchange.grpc.as_deref().map(Rpc::of), None),
            Some(Asked::JsonRpc { method }) => (Some(Rpc::json(method)), None),
            Some(Asked::GraphQl(graphql)) => (None, Some(graphql)),
            None => (None, None),
        };
        Self::Http {
            kind: exchange.role,
            duration_ns: exchange.duration_ns,
            http: Http {
                version,
                request: request.map(|request| RequestJson::of(request, bodies)),
                response: response.map(|response| ResponseJson::of(response, bodies)),
                stream: exchange.stream.map(|id| StreamJson { id }),
            },
            url: request.and_then(UrlJson::of),
            rpc: rpc.map(Box::new),
            graphql: graphql.map(Box::new),
            error: exchange.error.as_deref().map(Failure::broken_off),
        }
    }
}
