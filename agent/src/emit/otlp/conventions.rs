//! What OpenTelemetry's semantic conventions say of spans beside the names of attributes: what a span
//! is called, when it is an error, and attributes that the output tells in another way.

use std::borrow::Cow;

use opentelemetry_proto::tonic::{
    common::v1::KeyValue,
    trace::v1::{Status, span::SpanKind, status::StatusCode},
};

use super::attributes::{attribute, text};
use crate::{
    capture::Endpoints,
    decode::{Content, Exchange, Grpc, Operation, Role, known_method},
    emit::url::Url,
    enrich::Record,
};

/// Bytes of a span's name: what peers write may be long.
const NAME: usize = 128;

/// Codes of gRPC that are the server's fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE,
/// DATA_LOSS. To a client each one but 0 is an error.
const FAULTS: [u32; 6] = [2, 4, 12, 13, 14, 15];

/// The name of a span, by the attributes that it has: what is done, and in databases and brokers to what.
pub(super) fn name(content: &Content, attributes: &[KeyValue]) -> String {
    let of = |key| text(attributes, key);
    let name: Cow<'_, str> = match content {
        Content::Http(_) => match (of("rpc.service"), of("rpc.method")) {
            (Some(service), Some(method)) => format!("{service}/{method}").into(),
            (None, Some(method)) => method.into(),
            _ => method(of("http.request.method")).into(),
        },
        Content::Operation(operation) => of_operation(operation),
        _ => "".into(),
    };
    let end = name.floor_char_boundary(NAME);
    name.get(..end).unwrap_or_default().to_owned()
}

fn of_operation(operation: &Operation) -> Cow<'_, str> {
    let Operation { system, name, target, namespace, .. } = operation;
    match (name.as_deref(), target.as_deref().or(namespace.as_deref())) {
        (Some(name), Some(target)) => format!("{name} {target}").into(),
        (Some(name), None) => name.into(),
        (None, _) => system.as_str().into(),
    }
}

/// "HTTP" stands for a method that nobody knows: anybody can make one up.
fn method(name: Option<&str>) -> &'static str {
    name.and_then(known_method).unwrap_or("HTTP")
}

pub(super) const fn kind(role: Role) -> SpanKind {
    match role {
        Role::Client => SpanKind::Client,
        Role::Server => SpanKind::Server,
    }
}

/// Whether it failed, and of what kind the failure was: `error.type`, as the output has it or by the
/// conventions of HTTP and gRPC.
pub(super) fn failure(content: &Content, attributes: &[KeyValue]) -> Option<Cow<'static, str>> {
    let told = text(attributes, "error.type").map(|kind| Cow::Owned(kind.to_owned()));
    told.or_else(|| match content {
        Content::Http(exchange) => failed(exchange),
        _ => None,
    })
}

fn failed(exchange: &Exchange) -> Option<Cow<'static, str>> {
    let server = exchange.role == Role::Server;
    if let Some((grpc, code)) = exchange.grpc.as_deref().and_then(|grpc| Some((grpc, grpc.status?)))
    {
        let fault = if server { FAULTS.contains(&code) } else { code != 0 };
        let name = || grpc.status_name().map_or_else(|| code.to_string().into(), Cow::Borrowed);
        return fault.then(name);
    }
    let status = exchange.response.as_ref()?.status?;
    let first = if server { 500 } else { 400 };
    (status >= first).then(|| status.to_string().into())
}

/// The status of a span. It stays open where nothing went wrong, as the conventions have it.
pub(super) fn status(content: &Content, attributes: &[KeyValue], failed: bool) -> Option<Status> {
    let message = match content {
        Content::Http(exchange) => exchange.grpc.as_deref().and_then(message_of),
        _ => text(attributes, "error.message").map(str::to_owned),
    };
    failed.then(|| Status { code: StatusCode::Error.into(), message: message.unwrap_or_default() })
}

fn message_of(grpc: &Grpc) -> Option<String> {
    grpc.message.clone()
}

/// What the conventions ask for, and the output tells by other names.
pub(super) fn more(record: &Record) -> Vec<KeyValue> {
    let mut more = Vec::new();
    let content = &record.message.content;
    let (role, authority) = match content {
        Content::Http(exchange) => {
            let request = exchange.request.as_ref();
            let version = request.map(|request| request.version);
            let version = version.or(exchange.response.as_ref().map(|response| response.version));
            more.push(attribute("network.protocol.name", "http"));
            more.extend(version.map(|it| attribute("network.protocol.version", it.as_str())));
            more.push(attribute("url.scheme", "https"));
            (exchange.role, request.and_then(|request| Url::of(request).authority))
        }
        Content::Operation(operation) => (operation.role, None),
        _ => return more,
    };
    let (server, client) = ends(record, role);
    let named = authority.as_deref().map(Place::of_authority);
    if let Some(server) = named.or(server) {
        more.push(attribute("server.address", server.address));
        more.extend(server.port.map(|port| attribute("server.port", port)));
    }
    if let Some(client) = client.filter(|_| role == Role::Server) {
        more.push(attribute("client.address", client.address));
        more.extend(client.port.map(|port| attribute("client.port", port)));
    }
    more
}

/// Where a side is.
struct Place {
    address: String,
    port: Option<u16>,
}

impl Place {
    /// RFC 3986, section 3.2, without user information; the scheme is https.
    fn of_authority(authority: &str) -> Self {
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let behind = |(address, port): (&str, &str)| {
            Some(Self { address: unbracketed(address), port: Some(port.parse().ok()?) })
        };
        let port = host.rsplit_once(':').and_then(behind);
        port.unwrap_or_else(|| Self { address: unbracketed(host), port: Some(443) })
    }
}

fn unbracketed(host: &str) -> String {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    inner.unwrap_or(host).to_owned()
}

/// The server's end of the connection, and the client's.
fn ends(record: &Record, role: Role) -> (Option<Place>, Option<Place>) {
    let (local, peer) = match record.socket.as_deref().map(|socket| &socket.endpoints) {
        None => (None, None),
        Some(Endpoints::Tcp { local, peer }) => {
            let place = |end: &std::net::SocketAddr| Place {
                address: end.ip().to_string(),
                port: Some(end.port()),
            };
            (Some(place(local)), Some(place(peer)))
        }
        Some(Endpoints::Unix { local, peer }) => {
            let place = |path: &str| Place { address: path.to_owned(), port: None };
            (local.as_deref().map(place), peer.as_deref().map(place))
        }
    };
    match role {
        Role::Client => (peer, local),
        Role::Server => (local, peer),
    }
}
