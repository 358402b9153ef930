//! Records for tests.

use std::sync::Arc;

use bytes::Bytes;
use jiff::tz::TimeZone;

use crate::{
    capture::{Call, ConnectionKey, Direction, Endpoints, GapReason, Method, Socket},
    decode::{
        Body, Close, Content, Exchange, Member, Message, Messaging, Opcode, Operation, Outcome,
        Purpose, Request, Response, Role, ServerEvent, System, Unreadable, Value, Version,
        WebSocket,
    },
    emit::View,
    enrich::{Container, Library, Pod, Process, Record},
};

/// As a file has it, in short.
pub(crate) const PLAIN: View = View {
    headers: false,
    bodies: false,
    color: false,
    heading: false,
    zone: TimeZone::UTC,
    width: None,
};

pub(crate) fn record(content: Content) -> Record {
    let mut thread_name = [0; 16];
    thread_name[..4].copy_from_slice(b"curl");
    Record {
        message: Message {
            connection: ConnectionKey { pid: 41, object: 0x7f00, birth: 0xabc },
            call: Call { tid: 42, thread_name, library: 0, entered: 5, returned: 6 },
            content,
        },
        timestamp_ns: 1_795_292_692_708_165_404,
        process: Process {
            pid: 41,
            command: Some("curl".to_owned()),
            executable: Some("/usr/bin/curl".to_owned()),
        }
        .into(),
        container: Some(Arc::new(Container {
            id: Some("0123456789abcdef".repeat(4)),
            name: Some("web".to_owned()),
            runtime: Some("docker".to_owned()),
            image: Some("web:1".to_owned()),
            pod: None,
        })),
        tls: Some(Arc::new(Library {
            name: "openssl".into(),
            version: Some("3.0.22".to_owned()),
            path: "/usr/lib/x86_64-linux-gnu/libssl.so.3".to_owned(),
        })),
        socket: None,
        peer: None,
    }
}

pub(crate) fn socket() -> Arc<Socket> {
    let address = |text: &str| text.parse().unwrap();
    let endpoints =
        Endpoints::Tcp { local: address("172.17.0.2:43210"), peer: address("[fd00::3]:443") };
    Arc::new(Socket { endpoints, namespace: Some(4_026_531_840), method: Method::Nested })
}

pub(crate) fn http() -> Record {
    let fields = |fields: &[(&'static str, &'static [u8])]| fields.iter().copied().collect();
    record(Content::Http(Box::new(Exchange {
        role: Role::Client,
        duration_ns: Some(1_200_345),
        request: Some(Request {
            method: Some("POST".to_owned()),
            target: Some("/a?b=1".to_owned()),
            version: Version::Http11,
            headers: fields(&[("host", b"web"), ("x-two", b"1"), ("x-two", b"\xff")]),
            trailers: fields(&[]),
            body: Body { size: 5, bytes: Bytes::from_static(b"hello"), truncated: false },
        }),
        response: Some(Response {
            status: Some(200),
            version: Version::Http11,
            headers: fields(&[("content-type", b"text/plain")]),
            trailers: fields(&[]),
            body: Body {
                size: 5162,
                bytes: Bytes::from_static("line one\r\nline\ttwo \u{202e}\n\u{e9}".as_bytes())
                    .slice(..24),
                truncated: true,
            },
        }),
        stream: None,
        error: None,
        grpc: None,
    })))
}

/// `{name: "tea", parts: [{2: [bytes, -1, 0.5, true]}]}`
pub(crate) fn message() -> Value {
    let member = |name: &str, repeated, values| Member { name: name.to_owned(), repeated, values };
    let values = vec![
        Value::Bytes(Bytes::from_static(&[1])),
        Value::Signed(-1),
        Value::Float(0.5),
        Value::Bool(true),
    ];
    let part = Value::Message(vec![member("2", true, values)]);
    let name = member("name", false, vec![Value::Text("tea".to_owned())]);
    Value::Message(vec![name, member("parts", true, vec![part])])
}

pub(crate) fn operation(system: System) -> Record {
    record(Content::Operation(Box::new(Operation {
        duration_ns: Some(2_000_000),
        name: Some("SELECT".to_owned()),
        namespace: Some("shop".to_owned()),
        target: Some("cats".to_owned()),
        text: Some("SELECT * FROM cats WHERE id = $1".to_owned()),
        parameters: vec![Some("7".to_owned()), None],
        outcome: Some(Outcome {
            message: Some("SELECT 3".to_owned()),
            returned: Some(3),
            ..Outcome::default()
        }),
        request_size: 40,
        response_size: 300,
        ..Operation::new(system, Role::Client)
    })))
}

/// A message from a server, with all that messages may have.
pub(crate) fn delivery() -> Record {
    let messaging = Messaging {
        purpose: Some(Purpose::Receive),
        client: Some("c".to_owned()),
        group: Some("g".to_owned()),
        routing_key: Some("k\u{1b}".to_owned()),
        channel: Some(1),
        delivery_tag: Some(2),
        qos: Some(1),
        packet_id: Some(3),
        version: Some(4),
        body_size: Some(30),
    };
    record(Content::Operation(Box::new(Operation {
        name: Some("PUBLISH".to_owned()),
        target: Some("cats/\u{1b}".to_owned()),
        outcome: Some(Outcome::default()),
        by_server: true,
        messaging: Some(Box::new(messaging)),
        request_size: 40,
        ..Operation::new(System::Mqtt, Role::Client)
    })))
}

pub(crate) fn failure(system: System) -> Record {
    let outcome = Outcome {
        code: Some("42P01".to_owned()),
        message: Some("no table \u{1b}[31m".to_owned()),
        failed: true,
        ..Outcome::default()
    };
    record(Content::Operation(Box::new(Operation {
        outcome: Some(outcome),
        response_size: 30,
        truncated: true,
        ..Operation::new(system, Role::Server)
    })))
}

pub(crate) fn websocket(opcode: Opcode, body: &'static [u8]) -> Record {
    let close = Close { code: Some(1001), reason: Some("away \u{1b}[31m".to_owned()) };
    record(Content::WebSocket(Box::new(WebSocket {
        role: Role::Server,
        direction: Direction::Receive,
        stream: (opcode == Opcode::Binary).then_some(5),
        opcode,
        frames: 2,
        compressed: true,
        body: Body { size: 3, bytes: Bytes::from_static(body), truncated: body.is_empty() },
        unreadable: body.is_empty().then_some(Unreadable::ContextLost),
        close: (opcode == Opcode::Close).then_some(close),
    })))
}

pub(crate) fn event(body: &'static [u8]) -> Record {
    let request = exchange(&mut http()).request.take();
    record(Content::Event(Box::new(ServerEvent {
        role: Role::Client,
        request: request.map(Arc::new),
        stream: Some(5),
        name: Some("add \u{1b}[31m".to_owned()),
        id: Some("7".to_owned()),
        body: Body { size: 30, bytes: Bytes::from_static(body), truncated: true },
    })))
}

pub(crate) fn data(bytes: &'static [u8]) -> Record {
    let bytes = Bytes::from_static(bytes);
    record(Content::Data { direction: Direction::Transmit, offset: 7, bytes })
}

pub(crate) fn gap() -> Record {
    let reason = GapReason::RingFull;
    record(Content::Gap { direction: Direction::Receive, offset: 7, length: 300, reason })
}

pub(crate) fn opaque() -> Record {
    record(Content::Opaque { bytes: [26, 3000] })
}

pub(crate) fn exchange(record: &mut Record) -> &mut Exchange {
    match &mut record.message.content {
        Content::Http(exchange) => exchange,
        other => panic!("no exchange: {other:?}"),
    }
}

pub(crate) fn pod() -> Pod {
    Pod {
        name: "web-0".to_owned(),
        namespace: "shop".to_owned(),
        uid: Some("3f1c".to_owned()),
        container: Some("web".to_owned()),
    }
}

pub(crate) fn process(record: &mut Record) -> &mut Process {
    Arc::make_mut(&mut record.process)
}

pub(crate) fn library(record: &Record) -> Option<Library> {
    record.tls.as_deref().cloned()
}

pub(crate) fn container(record: &mut Record) -> &mut Container {
    Arc::make_mut(record.container.as_mut().unwrap())
}
