//! How connections begin, so that what follows reaches the decoder of their protocol.

use tlstap::capture::Direction::{self, Receive, Transmit};

/// What each side says first.
pub type Opening = Vec<(Direction, Vec<u8>)>;

/// The name of a protocol, and how it begins.
pub type Named = (&'static str, fn() -> Opening);

/// All of them.
pub const ALL: [Named; 13] = [
    ("http1", http1),
    ("http2", http2),
    ("websocket", websocket),
    ("postgresql", postgresql),
    ("mysql", mysql),
    ("mongodb", mongodb),
    ("redis", redis),
    ("mqtt", mqtt),
    ("amqp", amqp),
    ("kafka", kafka),
    ("smtp", smtp),
    ("imap", imap),
    ("unknown", unknown),
];

/// HTTP/1.1 (RFC 9112).
pub fn http1() -> Opening {
    vec![
        (Transmit, b"GET / HTTP/1.1\r\nHost: a\r\n".to_vec()),
        (Receive, b"HTTP/1.1 200 OK\r\n".to_vec()),
    ]
}

/// The preface, and SETTINGS of both sides (RFC 9113, section 3.4).
pub fn http2() -> Opening {
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let preface = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings].concat();
    vec![(Transmit, preface), (Receive, settings.to_vec())]
}

/// An upgrade with permessage-deflate (RFC 6455, RFC 7692).
pub fn websocket() -> Opening {
    let asked = "GET /chat HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
    let agreed = "HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\n\
                  Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    vec![(Transmit, asked.into()), (Receive, agreed.into())]
}

/// The start-up message of version 3.0 and AuthenticationOk (PostgreSQL, "Message Formats").
pub fn postgresql() -> Opening {
    let start = b"\0\0\0\x13\0\x03\0\0user\0joe\0\0\0";
    vec![(Transmit, start.to_vec()), (Receive, b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I".to_vec())]
}

/// What a client says first inside TLS, HandshakeResponse41, and OK (MySQL, "Connection Phase").
pub fn mysql() -> Opening {
    let flags = 0x0100_0a00_u32.to_le_bytes();
    let said = [&flags[..], &[0, 0, 0, 1, 33], &[0; 23], b"joe\0\0"].concat();
    let head = [u8::try_from(said.len()).unwrap_or_default(), 0, 0, 2];
    vec![
        (Transmit, [&head[..], &said].concat()),
        (Receive, b"\x07\0\0\x03\0\0\0\x02\0\0\0".to_vec()),
    ]
}

/// `ping` and its answer in OP_MSG (MongoDB Wire Protocol).
pub fn mongodb() -> Opening {
    let message = |id: u8, answers: u8, document: &[u8]| {
        let size = |all: usize| u8::try_from(all).unwrap_or_default();
        let head = [size(document.len() + 25), 0, 0, 0, id, 0, 0, 0, answers, 0, 0, 0];
        let body = [0xdd, 7, 0, 0, 0, 0, 0, 0, 0, size(document.len() + 4), 0, 0, 0];
        [&head[..], &body, document].concat()
    };
    vec![
        (Transmit, message(1, 0, b"\x10ping\0\x01\0\0\0\x02$db\0\x02\0\0\0a\0\0")),
        (Receive, message(1, 1, b"\x10ok\0\x01\0\0\0\0")),
    ]
}

/// RESP (Redis serialization protocol).
pub fn redis() -> Opening {
    vec![(Transmit, b"*1\r\n$4\r\nPING\r\n".to_vec()), (Receive, b"+PONG\r\n".to_vec())]
}

/// A greeting, a hello and its reply (RFC 5321, section 3.1).
pub fn smtp() -> Opening {
    vec![
        (Receive, b"220 mx ESMTP\r\n".to_vec()),
        (Transmit, b"EHLO me\r\n".to_vec()),
        (Receive, b"250-mx\r\n250 PIPELINING\r\n".to_vec()),
    ]
}

/// A greeting, a command and its completion (RFC 9051, section 2.2).
pub fn imap() -> Opening {
    vec![
        (Receive, b"* OK [CAPABILITY IMAP4rev1] ready\r\n".to_vec()),
        (Transmit, b"a1 NOOP\r\n".to_vec()),
        (Receive, b"a1 OK done\r\n".to_vec()),
    ]
}

/// CONNECT of version 5, CONNACK, and topics with aliases (MQTT 5.0, sections 3.1 to 3.3).
pub fn mqtt() -> Opening {
    vec![
        (Transmit, b"\x10\x0e\0\x04MQTT\x05\x02\0\x3c\0\0\x01a".to_vec()),
        (Receive, b"\x20\x03\0\0\0".to_vec()),
        (Transmit, b"\x30\x07\0\x01t\x03\x23\0\x07".to_vec()),
        (Receive, b"\x32\x06\0\x01t\0\x01\0".to_vec()),
    ]
}

/// The protocol header, connection.start, and a channel (AMQP 0-9-1, sections 2.2.4 and 4.2.2).
pub fn amqp() -> Opening {
    vec![
        (Transmit, b"AMQP\0\0\x09\x01".to_vec()),
        (Receive, b"\x01\0\0\0\0\0\x0e\0\x0a\0\x0a\0\x09\0\0\0\0\0\0\0\0\xce".to_vec()),
        (Transmit, b"\x01\0\x01\0\0\0\x05\0\x14\0\x0a\0\xce".to_vec()),
        (Receive, b"\x01\0\x01\0\0\0\x08\0\x14\0\x0b\0\0\0\0\xce".to_vec()),
    ]
}

/// ApiVersions with its answer, and a heartbeat that awaits its own (Kafka's protocol guide).
pub fn kafka() -> Opening {
    vec![
        (Transmit, b"\0\0\0\x0d\0\x12\0\0\0\0\0\x01\0\x03cat".to_vec()),
        (Receive, b"\0\0\0\x0a\0\0\0\x01\0\0\0\0\0\0".to_vec()),
        (Transmit, b"\0\0\0\x17\0\x0c\0\x01\0\0\0\x02\0\x03cat\0\x01g\0\0\0\0\0\x01m".to_vec()),
    ]
}

/// Nothing: what follows is what the protocol is told by.
pub fn unknown() -> Opening {
    Vec::new()
}
