//! The connection that the bytes were on.

use std::{borrow::Cow, net::SocketAddr};

use serde::Serialize;

use crate::{
    capture::{Direction, Endpoints, Socket},
    enrich::Record,
};

#[derive(Serialize)]
pub(super) struct Network<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    local: Option<Endpoint<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer: Option<Endpoint<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<Namespace>,
    connection: Connection,
    #[serde(skip_serializing_if = "Option::is_none")]
    io: Option<Io>,
}

#[derive(Serialize)]
struct Endpoint<'a> {
    address: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Serialize)]
struct Namespace {
    inode: u32,
}

#[derive(Serialize)]
struct Connection {
    id: String,
}

#[derive(Serialize)]
struct Io {
    direction: Direction,
}

impl<'a> Network<'a> {
    pub(super) fn of(record: &'a Record, direction: Option<Direction>) -> Self {
        let socket = record.socket.as_deref();
        let (local, peer) = socket.map_or((None, None), |socket| ends(&socket.endpoints));
        Self {
            transport: socket.map(transport),
            local,
            peer: peer.map(|peer| Endpoint { name: record.peer.as_deref(), ..peer }),
            namespace: socket.and_then(|socket| socket.namespace).map(|inode| Namespace { inode }),
            connection: Connection { id: record.message.connection.to_string() },
            io: direction.map(|direction| Io { direction }),
        }
    }
}

/// The value of `network.transport`.
const fn transport(socket: &Socket) -> &'static str {
    match socket.endpoints {
        Endpoints::Tcp { .. } => "tcp",
        Endpoints::Unix { .. } => "unix",
    }
}

/// The local end, then the peer's; of a Unix socket those that have a name.
fn ends(endpoints: &Endpoints) -> (Option<Endpoint<'_>>, Option<Endpoint<'_>>) {
    match endpoints {
        Endpoints::Tcp { local, peer } => (Some(internet(*local)), Some(internet(*peer))),
        Endpoints::Unix { local, peer } => (local.as_deref().map(file), peer.as_deref().map(file)),
    }
}

fn internet(address: SocketAddr) -> Endpoint<'static> {
    let ip = Cow::Owned(address.ip().to_string());
    Endpoint { address: ip, port: Some(address.port()), name: None }
}

const fn file(path: &str) -> Endpoint<'_> {
    Endpoint { address: Cow::Borrowed(path), port: None, name: None }
}
