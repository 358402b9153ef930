//! Bodies and fields of HTTP/2 in, what gRPC makes of them out (PROTOCOL-HTTP2.md of gRPC).

use crate::decode::{Fields, Value};

/// The status codes of gRPC, by number (doc/statuscodes.md of gRPC).
const STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// A call of gRPC.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grpc {
    /// `package.Service`; absent when the path is not known.
    pub service: Option<String>,
    /// Its method.
    pub method: Option<String>,
    /// `grpc-status`; absent when it was not seen.
    pub status: Option<u32>,
    /// `grpc-message`, decoded.
    pub message: Option<String>,
    /// Messages sent by the client; absent when some were lost.
    pub requests: Option<Messages>,
    /// Messages sent by the server, likewise.
    pub responses: Option<Messages>,
    /// The first messages of the client, where bodies are wanted; those that are no protobuf are
    /// bytes.
    pub sent: Vec<Value>,
    /// Those of the server.
    pub received: Vec<Value>,
}

impl Grpc {
    /// The name of its status, of those that there are.
    pub fn status_name(&self) -> Option<&'static str> {
        let code = usize::try_from(self.status?).ok()?;
        STATUSES.get(code).copied()
    }
}

/// Messages of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Messages {
    /// How many began.
    pub count: u64,
    /// Their bytes as sent, without prefixes.
    pub size: u64,
    /// Whether any was compressed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub compressed: bool,
}

/// Counts the messages of a body: "Compressed-Flag Message-Length Message".
#[derive(Debug)]
pub(super) struct Counting {
    messages: Option<Messages>,
    prefix: Vec<u8>,
    left: u32,
}

impl Counting {
    pub(super) fn of(fields: &Fields) -> Self {
        // The body of grpc-web-text is base64.
        let text = |kind| memchr::memmem::find(kind, b"-text").is_some();
        let counted = is_grpc(fields) && !fields.first("content-type").is_some_and(text);
        Self { messages: counted.then(Messages::default), prefix: Vec::new(), left: 0 }
    }

    pub(super) fn lose(&mut self) {
        self.messages = None;
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        let Some(messages) = &mut self.messages else { return };
        while !bytes.is_empty() {
            let wanted = if self.left > 0 { self.left as usize } else { 5 - self.prefix.len() };
            let (taken, rest) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
            bytes = rest;
            if self.left > 0 {
                self.left =
                    self.left.saturating_sub(u32::try_from(taken.len()).unwrap_or(u32::MAX));
                continue;
            }
            self.prefix.extend_from_slice(taken);
            let Some([flags, length @ ..]) = self.prefix.first_chunk::<5>().copied() else {
                continue;
            };
            self.prefix.clear();
            self.left = u32::from_be_bytes(length);
            // grpc-web: trailers within the body.
            if flags & 0x80 == 0 {
                messages.count = messages.count.saturating_add(1);
                messages.size = messages.size.saturating_add(self.left.into());
                messages.compressed |= flags & 1 != 0;
            }
        }
    }
}

impl Grpc {
    /// What the halves of an exchange tell; `None` when it is no call of gRPC.
    pub(super) fn of(
        request: Option<(&Fields, &Counting)>,
        response: Option<(&Fields, &Fields, &Counting)>,
    ) -> Option<Self> {
        let grpc = request.is_some_and(|(fields, _)| is_grpc(fields))
            || response.is_some_and(|(fields, ..)| is_grpc(fields));
        if !grpc {
            return None;
        }
        let path = request.map(|(fields, _)| text(fields, ":path")).unwrap_or_default();
        let parts = path.strip_prefix('/').and_then(|path| path.rsplit_once('/'));
        let (service, method) = parts.map(|(s, m)| (s.to_owned(), m.to_owned())).unzip();
        // "Trailers-Only": a response without messages has them in its head.
        let last = |name| {
            response.and_then(|(head, trailers, _)| {
                trailers.first(name).or_else(|| head.first(name)).map(<[u8]>::to_vec)
            })
        };
        let status =
            last("grpc-status").and_then(|value| String::from_utf8(value).ok()?.parse().ok());
        Some(Self {
            service,
            method,
            status,
            message: last("grpc-message").map(|value| percent_decoded(&value)),
            requests: request.and_then(|(_, counting)| counting.messages),
            responses: response.and_then(|(_, _, counting)| counting.messages),
            sent: Vec::new(),
            received: Vec::new(),
        })
    }
}

fn text(fields: &Fields, name: &str) -> String {
    fields.first(name).map(|value| String::from_utf8_lossy(value).into_owned()).unwrap_or_default()
}

fn is_grpc(fields: &Fields) -> bool {
    fields.first("content-type").is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

fn percent_decoded(value: &[u8]) -> String {
    let mut plain = Vec::new();
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(|_| *first == b'%') {
            Some(byte) => {
                plain.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}
