//! A record in, a line of JSON out: the schema `tlstap/v1`, docs/output.md.

mod body;
pub(super) mod finding;
mod grpc;
mod http;
mod messaging;
mod network;
mod operation;
mod origin;
pub(super) mod protobuf;
mod sse;
#[cfg(test)]
mod tests;
mod websocket;

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

use self::{
    body::{Asked, GraphQl},
    grpc::Rpc,
    http::{Http, OnStream, Payload, RequestJson, ResponseJson, StreamJson, UrlJson},
    network::Network,
    operation::{Failure, Part},
    origin::{ContainerJson, K8s, ProcessJson, Thread, Tls},
    sse::EventJson,
    websocket::WebSocketJson,
};
use super::escape;
use crate::{
    capture::GapReason,
    decode::{Content, Exchange, Operation, Role, ServerEvent, Version},
    enrich::Record,
};

/// The name of what every line follows.
const SCHEMA: &str = "tlstap/v1";

/// Writes a record as one line.
pub(super) fn write(record: &Record, bodies: bool, out: &mut impl Write) -> io::Result<()> {
    let Some(line) = Line::of(record, bodies) else { return Ok(()) };
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Safe);
    line.serialize(&mut serializer)?;
    out.write_all(b"\n")
}

/// JSON leaves most control characters behind ASCII as they are; a terminal may not.
struct Safe;

impl Formatter for Safe {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Most are: to look at each character takes longer than all the rest.
        if is_printable(fragment.as_bytes()) {
            return CompactFormatter.write_string_fragment(writer, fragment);
        }
        for piece in fragment.split_inclusive(escape::is_unsafe) {
            let end = piece.chars().next_back().filter(|&c| escape::is_unsafe(c));
            let plain = piece.trim_end_matches(|c| Some(c) == end);
            CompactFormatter.write_string_fragment(writer, plain)?;
            if let Some(c) = end {
                writer.write_all(escape::json_escape(c).as_bytes())?;
            }
        }
        Ok(())
    }
}

/// Whether all is printable ASCII. Without a way out of the inner loop, which many bytes take at once.
fn is_printable(bytes: &[u8]) -> bool {
    let printable = |byte: &u8| (b' '..=b'~').contains(byte);
    bytes.chunks(64).all(|some| some.iter().fold(true, |all, byte| all & printable(byte)))
}

/// A record.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    schema: &'static str,
    #[serde(flatten)]
    head: Head<'a>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

/// What every record has.
#[derive(Serialize)]
struct Head<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: String,
    process: ProcessJson<'a>,
    thread: Thread<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<ContainerJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k8s: Option<K8s<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
    network: Network<'a>,
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
        let message = &record.message;
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
        let head = Head {
            kind,
            timestamp: timestamp(record.timestamp_ns),
            process: ProcessJson::of(&record.process),
            thread: Thread { id: message.call.tid, name: message.call.thread_name() },
            container: record.container.as_deref().map(ContainerJson::of),
            k8s: K8s::of(record.container.as_deref()),
            tls: record.tls.as_deref().map(Tls::of),
            network: Network::of(record, direction),
        };
        Some(Self { schema: SCHEMA, head, rest })
    }
}

/// RFC 3339 in UTC with nanoseconds.
fn timestamp(ns: i64) -> String {
    let timestamp = Timestamp::from_nanosecond(ns.into()).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{timestamp:.9}")
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
