//! Segments of one connection in, protocol messages out.
//!
//! One protocol a file. Decoders do no I/O and read no clock; malformed input never fails, it
//! makes the connection [`Content::Opaque`].

mod amqp;
mod body;
mod coding;
mod connection;
mod cursor;
mod detect;
mod dialogue;
mod duplex;
mod fields;
mod frames;
mod http1;
pub(crate) mod http2;
mod imap;
mod kafka;
mod mongodb;
mod mqtt;
mod mysql;
mod operation;
mod pending;
mod postgresql;
mod protobuf;
mod protocol;
pub mod raw;
mod redis;
mod smtp;
mod sse;
#[cfg(test)]
mod trial;
mod websocket;

use bytes::Bytes;

pub use self::{
    connection::Connection,
    fields::Fields,
    http2::{Grpc, Messages},
    operation::{Messaging, Operation, Outcome, Purpose, System},
    protobuf::{Member, Schema, SchemaError, Value},
    sse::ServerEvent,
    websocket::{Close, Opcode, Unreadable, WebSocket},
};
use crate::capture::{Call, ConnectionKey, Direction, GapReason};

/// What a decoder keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Whether message bodies are wanted.
    pub keep_bodies: bool,
    /// How many bytes of a body are kept, before and after content decoding.
    pub body_limit: usize,
}

/// The side of the connection that the traced process is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It sends requests.
    Client,
    /// It answers them.
    Server,
}

/// One decoded message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// The connection it was on.
    pub connection: ConnectionKey,
    /// The call that moved its first byte; see [`Message::began`].
    pub call: Call,
    /// What it is.
    pub content: Content,
}

impl Message {
    /// Whether it tells an end, and nothing that anybody said.
    pub const fn is_end(&self) -> bool {
        matches!(self.content, Content::Closed { .. })
    }

    /// When its first byte was moved, `CLOCK_MONOTONIC` nanoseconds.
    pub const fn began(&self) -> u64 {
        match &self.content {
            Content::Data { direction, .. } => moved(&self.call, *direction),
            Content::Http(exchange) => moved(&self.call, exchange.begins()),
            Content::Operation(operation) => moved(&self.call, operation.begins()),
            Content::WebSocket(websocket) => moved(&self.call, websocket.direction),
            Content::Event(event) => moved(&self.call, event.direction()),
            // Lost bytes came before those of the call; nobody knows which way an opaque
            // connection began.
            Content::Gap { .. } | Content::Opaque { .. } | Content::Closed { .. } => {
                self.call.entered
            }
        }
    }
}

/// When a call moved bytes: one that sends does so at once, one that receives may have waited for
/// them for as long as the peer had nothing to say.
const fn moved(call: &Call, direction: Direction) -> u64 {
    match direction {
        Direction::Transmit => call.entered,
        Direction::Receive => call.returned,
    }
}

/// What a message is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// A piece of the plaintext as it is.
    Data {
        /// Direction of the bytes.
        direction: Direction,
        /// Position of the first byte in the stream of this direction.
        offset: u64,
        /// Never empty.
        bytes: Bytes,
    },
    /// Plaintext that was lost.
    Gap {
        /// Direction of the bytes.
        direction: Direction,
        /// Position of the first missing byte.
        offset: u64,
        /// How many bytes are missing; 0 when nobody knows ([`GapReason::InFlightFull`],
        /// [`GapReason::Detached`]).
        length: u64,
        /// Why.
        reason: GapReason,
    },
    /// A request with its response.
    Http(Box<Exchange>),
    /// A request and its answer in another protocol.
    Operation(Box<Operation>),
    /// A WebSocket message, or a control frame.
    WebSocket(Box<WebSocket>),
    /// An event of a response that goes on.
    Event(Box<ServerEvent>),
    /// The end of a connection, or of what the process sends on it. Told beside [`Content::Data`],
    /// for formats that show connections.
    Closed {
        /// Whether nothing comes from the peer any more either.
        whole: bool,
    },
    /// A connection that ended without a known protocol: its bytes by [`Direction::index`].
    Opaque {
        /// Bytes of each direction.
        bytes: [u64; 2],
    },
}

/// An HTTP request with its response.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The side that the traced process is on.
    pub role: Role,
    /// From the first byte of the request to the last byte of the response, nanoseconds.
    /// Absent when either end was not seen.
    pub duration_ns: Option<u64>,
    /// Absent when the agent came after it, or lost it.
    pub request: Option<Request>,
    /// Absent when the connection ended before it, or it was lost.
    pub response: Option<Response>,
    /// The stream of HTTP/2 that it was on.
    pub stream: Option<u32>,
    /// Why it was broken off: the name of RFC 9113's error code, or `GOAWAY`.
    pub error: Option<String>,
    /// What gRPC makes of it.
    pub grpc: Option<Box<Grpc>>,
}

impl Exchange {
    /// The direction of its first byte.
    const fn begins(&self) -> Direction {
        let requests = self.role.requests();
        if self.request.is_some() { requests } else { requests.opposite() }
    }
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 1945.
    Http10,
    /// RFC 9112.
    Http11,
    /// RFC 9113.
    Http2,
}

impl Version {
    /// As OpenTelemetry's `network.protocol.version` has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2",
        }
    }

    /// HTTP/1, by its minor version.
    const fn of_minor(minor: u8) -> Self {
        if minor == 0 { Self::Http10 } else { Self::Http11 }
    }
}

/// The methods that OpenTelemetry knows (RFC 9110, RFC 5789 and `QUERY`).
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];

/// A method, if it is one of those that everybody knows: anybody can make others up.
pub fn known_method(name: &str) -> Option<&'static str> {
    METHODS.into_iter().find(|known| *known == name)
}

/// An HTTP request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET`, …; with HTTP/2 absent when it is not known.
    pub method: Option<String>,
    /// The request target as sent (RFC 9112, section 3.2); with HTTP/2 absent when it is not known.
    pub target: Option<String>,
    /// The version of HTTP.
    pub version: Version,
    /// Its header section.
    pub headers: Fields,
    /// The fields behind the body; only those of HTTP/2 are kept.
    pub trailers: Fields,
    /// The body.
    pub body: Body,
}

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code; with HTTP/2 absent when it is not known.
    pub status: Option<u16>,
    /// The version of HTTP.
    pub version: Version,
    /// Its header section.
    pub headers: Fields,
    /// The fields behind the body; only those of HTTP/2 are kept.
    pub trailers: Fields,
    /// The body.
    pub body: Body,
}

/// A message body with its transfer coding removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    /// Bytes transferred, without chunk framing, before content decoding (OpenTelemetry's
    /// `http.response.body.size`).
    pub size: u64,
    /// The first bytes, up to the decoder's limit, content coding removed where it is known.
    /// Empty when bodies are not kept.
    pub bytes: Bytes,
    /// Whether `bytes` lacks some of the body: over the limit, lost, or cut off.
    pub truncated: bool,
}
