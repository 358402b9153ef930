//! A connection's socket and first bytes in, the addresses and ports of its packets out: such that
//! Wireshark finds the dissector without being told. docs/pcapng.md says how, and why.

use std::net::{Ipv6Addr, SocketAddr};

use crate::{
    capture::{Direction, Endpoints, Socket},
    enrich::Record,
};

/// Ports that Wireshark gives to TLS, or to nobody, and those of the same protocols without TLS.
const WITHOUT_TLS: [(u16, u16); 11] = [
    (443, 80),
    (465, 25),
    (636, 389),
    (853, 53),
    (993, 143),
    (995, 110),
    (5061, 5060),
    (5671, 5672),
    (8883, 1883),
    (9093, 9092),
    (11207, 11211),
];
const HTTP: u16 = 80;
/// Others that Wireshark gives to HTTP.
const ALSO_HTTP: [u16; 4] = [3128, 8080, 8088, 11371];
/// Of a server that is not known and says nothing that is. Wireshark has nothing there.
const DISCARD: u16 = 9;
/// Of a client that is not known.
const CLIENT: u16 = 49_152;

/// Where the packets of a connection go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The process's end, then the peer's.
    pub(super) ends: [SocketAddr; 2],
    /// The direction in which the client sends.
    pub(super) client: Direction,
    /// Whether the other side of it is in the file already, so that the client has another port.
    pub(super) is_second: bool,
}

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Recognised {
    /// Whether the client said them.
    by_client: bool,
    /// Where Wireshark expects the protocol.
    port: u16,
}

impl Route {
    /// `first` is what was said first, if it was seen, `number` different for each connection.
    pub(super) fn of(record: &Record, first: Option<(Direction, &[u8])>, number: u32) -> Self {
        let known = first.and_then(|(at, bytes)| Some((at, recognise(bytes)?)));
        let port = known.map(|(_, recognised)| recognised.port);
        let says =
            known.map(|(at, recognised)| if recognised.by_client { at } else { at.opposite() });
        let mut route = match record.socket.as_deref() {
            Some(Socket { endpoints: Endpoints::Tcp { local, peer }, .. }) => {
                // Ports of clients are the higher ones.
                let by_port = match local.port() >= peer.port() {
                    true => Direction::Transmit,
                    false => Direction::Receive,
                };
                let client = says.unwrap_or(by_port);
                Self { ends: [*local, *peer], client, is_second: false }
            }
            _ => Self::invented(says.or(first.map(|(at, _)| at)), number),
        };
        let server = route.server_mut();
        server.set_port(shown(server.port(), port));
        route
    }

    /// Addresses for documentation (RFC 3849), other ones for each connection.
    fn invented(client: Option<Direction>, number: u32) -> Self {
        let [a, b, c, d] = number.to_be_bytes();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let end = |end| Ipv6Addr::new(0x2001, 0xdb8, high, low, 0, 0, 0, end).into();
        let client = client.unwrap_or(Direction::Transmit);
        let mut ends = [SocketAddr::new(end(1), DISCARD), SocketAddr::new(end(2), DISCARD)];
        client.of_mut(&mut ends).set_port(CLIENT);
        Self { ends, client, is_second: false }
    }

    pub(super) fn client_mut(&mut self) -> &mut SocketAddr {
        self.client.of_mut(&mut self.ends)
    }

    fn server_mut(&mut self) -> &mut SocketAddr {
        self.client.opposite().of_mut(&mut self.ends)
    }

    /// The same for both sides of a connection.
    pub(super) fn pair(&self) -> (SocketAddr, SocketAddr) {
        let [one, other] = self.ends;
        (one.min(other), one.max(other))
    }
}

/// The port that stands for a server's.
fn shown(real: u16, recognised: Option<u16>) -> u16 {
    match recognised {
        Some(HTTP) if ALSO_HTTP.contains(&real) => real,
        Some(port) => port,
        None => {
            let twin = WITHOUT_TLS.iter().find(|(tls, _)| *tls == real);
            twin.map_or(real, |(_, without)| *without)
        }
    }
}

/// Protocols that say what they are.
fn recognise(bytes: &[u8]) -> Option<Recognised> {
    let client = |port| Some(Recognised { by_client: true, port });
    match bytes {
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', ..] => {
            Some(Recognised { by_client: false, port: HTTP })
        }
        _ if is_http_request(bytes) => client(HTTP),
        // SETTINGS on stream 0: a server of HTTP/2 need not wait for the client (RFC 9113, 3.4). In
        // front of those of the client is its preface.
        [0, 0, length, 4, 0, 0, 0, 0, 0, ..] if length % 6 == 0 => {
            Some(Recognised { by_client: false, port: HTTP })
        }
        // A StartupMessage: its length, and version 3.0 (PostgreSQL's protocol, "Message Formats").
        [0, 0, _, _, 0, 3, 0, 0, ..] => client(5432),
        // An array of bulk strings (RESP).
        [b'*', b'1'..=b'9', rest @ ..] if is_array(rest) => client(6379),
        // A request of MongoDB: it answers none, and is OP_QUERY or OP_MSG.
        [_, _, _, 0, _, _, _, _, 0, 0, 0, 0, 0xd4 | 0xdd, 7, 0, 0, ..] => client(27017),
        // A greeting of IMAP (RFC 9051, section 7.1).
        [b'*', b' ', b'O', b'K', b' ', ..] => Some(Recognised { by_client: false, port: 143 }),
        // SMTP: a greeting or a hello (RFC 5321, section 4.1.1.1).
        [b'E', b'H', b'L', b'O', b' ', ..] => client(25),
        // AMQP 0-9-1, section 4.2.2.
        [b'A', b'M', b'Q', b'P', ..] => client(5672),
        // CONNECT: a remaining length of one or two bytes, and the protocol's name (MQTT, 3.1).
        [0x10, _, 0, 4, b'M', b'Q', b'T', b'T', ..]
        | [0x10, _, _, 0, 4, b'M', b'Q', b'T', b'T', ..] => client(1883),
        _ => None,
    }
}

/// `PRI * HTTP/2.0` begins HTTP/2 (RFC 9113, section 3.4).
fn is_http_request(bytes: &[u8]) -> bool {
    const METHODS: [&[u8]; 9] = [
        b"GET ",
        b"HEAD ",
        b"POST ",
        b"PUT ",
        b"DELETE ",
        b"OPTIONS ",
        b"PATCH ",
        b"CONNECT ",
        b"PRI * HTTP/2",
    ];
    let line = bytes.get(..4096).unwrap_or(bytes);
    let line = memchr::memchr(b'\n', line).map_or(line, |end| line.get(..end).unwrap_or(line));
    METHODS.iter().any(|method| bytes.starts_with(method))
        || memchr::memmem::find(line, b" HTTP/1.").is_some()
}

fn is_array(digits_and_more: &[u8]) -> bool {
    let digits = digits_and_more.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
    digits_and_more.get(digits..).is_some_and(|rest| rest.starts_with(b"\r\n$"))
}
