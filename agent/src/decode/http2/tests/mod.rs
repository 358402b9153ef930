//! Whole connections through [`Connection`]: segments in, exchanges in a short notation out.

mod conversations;
mod noise;
mod tunnels;

use bytes::Bytes;

use super::frames::PREFACE;
use crate::{
    capture::{Call, ConnectionKey, Direction, GapReason},
    decode::{Body, Connection, Content, Exchange, Fields, Message, Options, Role},
    reassemble::{Segment, SegmentContent},
};

#[derive(Clone, Debug)]
enum Event {
    Data(Direction, Vec<u8>),
    Gap(Direction, u64),
    End,
}

fn tx(bytes: impl AsRef<[u8]>) -> Event {
    Event::Data(Direction::Transmit, bytes.as_ref().to_vec())
}

fn rx(bytes: impl AsRef<[u8]>) -> Event {
    Event::Data(Direction::Receive, bytes.as_ref().to_vec())
}

const OPTIONS: Options = Options { keep_bodies: true, body_limit: 100 };

fn segment(number: u64, content: SegmentContent) -> Segment {
    let connection = ConnectionKey { pid: 1, object: 2, birth: 3 };
    let (entered, returned) = (10 * number, 10 * number + 5);
    let call = Call { tid: 1, thread_name: [0; 16], library: 0, entered, returned };
    Segment { connection, call, content }
}

fn decode(events: &[Event]) -> Vec<Message> {
    let mut connection = Connection::new(&OPTIONS);
    let mut out = Vec::new();
    for (number, event) in events.iter().enumerate() {
        let content = match event.clone() {
            Event::Data(direction, bytes) => {
                SegmentContent::Data { direction, offset: 0, bytes: Bytes::from(bytes) }
            }
            Event::Gap(direction, length) => {
                let reason = GapReason::RingFull;
                SegmentContent::Gap { direction, offset: 0, length, reason }
            }
            Event::End => SegmentContent::End,
        };
        connection.push(&segment(number as u64, content), &mut out);
    }
    out
}

fn body(body: &Body) -> String {
    let cut = if body.truncated { "~" } else { "" };
    format!("[{} {}{cut}]", body.size, String::from_utf8_lossy(&body.bytes))
}

/// What is behind the pseudo-header fields, and `+n` unknown ones.
fn headers(fields: &Fields) -> String {
    let mut shown = String::new();
    for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(':')) {
        shown += &format!("{name}={} ", String::from_utf8_lossy(value));
    }
    if fields.unknown() > 0 {
        shown += &format!("+{} ", fields.unknown());
    }
    shown
}

/// The body, then the trailers.
fn rest(content: &Body, trailers: &Fields) -> String {
    format!("{} {}", body(content), headers(trailers)).trim_end().to_owned()
}

/// `1: GET a/ x=y [0 ] > 200 [5 hello]`, the stream first.
fn exchange(exchange: &Exchange) -> String {
    let request = exchange.request.as_ref().map_or("-".to_owned(), |r| {
        let authority = String::from_utf8_lossy(r.headers.first(":authority").unwrap_or_default());
        let [method, target] = [&r.method, &r.target].map(|known| known.as_deref().unwrap_or("?"));
        format!(
            "{method} {authority}{target} {}{}",
            headers(&r.headers),
            rest(&r.body, &r.trailers)
        )
    });
    let response = exchange.response.as_ref().map_or("-".to_owned(), |r| {
        let status = r.status.map_or("?".to_owned(), |status| status.to_string());
        format!("{status} {}{}", headers(&r.headers), rest(&r.body, &r.trailers))
    });
    let mut shown = format!("{}: {request} > {response}", exchange.stream.unwrap());
    if let Some(error) = &exchange.error {
        shown += &format!(" !{error}");
    }
    if exchange.role == Role::Server {
        shown.insert_str(0, "server ");
    }
    shown
}

fn show(message: &Message) -> String {
    match &message.content {
        Content::Gap { direction, length, .. } => format!("gap {direction:?} {length}"),
        Content::Http(http) => exchange(http),
        Content::Opaque { bytes: [transmit, receive] } => format!("opaque {transmit} {receive}"),
        other => format!("{other:?}"),
    }
}

#[track_caller]
fn check(events: &[Event], expect: &[&str]) {
    let shown: Vec<String> = decode(events).iter().map(show).collect();
    assert_eq!(shown, expect);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Literal fields, `indexed` ones with incremental indexing, shorter than 127 bytes.
fn literal(indexed: bool, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(if indexed { 0x40 } else { 0 });
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.bytes());
        }
    }
    block
}

fn settings() -> Vec<u8> {
    frame(4, 0, 0, &[0, 3, 0, 0, 0, 100])
}

/// `GET` of a path from `a`, its path and host by literals that are indexed.
fn get(stream: u32, path: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x87];
    block.extend(literal(true, &[(":path", path), (":authority", "a")]));
    frame(1, 5, stream, &block)
}

/// The same request again: all of it is indexed.
fn again(stream: u32) -> Vec<u8> {
    frame(1, 5, stream, &[0x82, 0x87, 0xbf, 0xbe])
}

fn ok(stream: u32, body: &str) -> Vec<u8> {
    let mut frames = frame(1, 4, stream, &[0x88]);
    frames.extend(frame(0, 1, stream, body.as_bytes()));
    frames
}

fn begin() -> Vec<u8> {
    [PREFACE, &settings()].concat()
}
