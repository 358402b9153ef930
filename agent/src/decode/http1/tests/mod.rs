//! Whole connections through [`Connection`]: segments in, messages in a short notation out.

mod gaps;
mod hostile;
mod many;
mod messages;
mod splits;

use std::fmt::{self, Write as _};

use bytes::Bytes;

use crate::{
    capture::{Call, ConnectionKey, Direction, GapReason},
    decode::{Body, Connection, Content, Exchange, Message, Options, Request, Response, Role},
    reassemble::{Segment, SegmentContent},
};

/// What happens on a connection.
#[derive(Clone)]
enum Event {
    Data(Direction, Vec<u8>),
    Gap(Direction, u64),
    /// Data of a call that was entered so many events before.
    Late(Direction, Vec<u8>, usize),
    End,
    Stop,
}

use Event::{End, Stop};

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(Direction::Transmit, bytes) => write!(f, "tx({:?})", show_bytes(bytes)),
            Self::Data(Direction::Receive, bytes) => write!(f, "rx({:?})", show_bytes(bytes)),
            Self::Gap(direction, length) => write!(f, "gap({direction:?}, {length})"),
            Self::Late(direction, bytes, events) => {
                write!(f, "late({direction:?}, {:?}, {events})", show_bytes(bytes))
            }
            End => f.write_str("End"),
            Stop => f.write_str("Stop"),
        }
    }
}

fn show_bytes(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..80).unwrap_or(bytes)).into_owned()
}

/// The process sends.
fn tx(bytes: impl AsRef<[u8]>) -> Event {
    Event::Data(Direction::Transmit, bytes.as_ref().to_vec())
}

/// The process receives.
fn rx(bytes: impl AsRef<[u8]>) -> Event {
    Event::Data(Direction::Receive, bytes.as_ref().to_vec())
}

fn tx_gap(length: u64) -> Event {
    Event::Gap(Direction::Transmit, length)
}

fn rx_gap(length: u64) -> Event {
    Event::Gap(Direction::Receive, length)
}

const CONNECTION: ConnectionKey = ConnectionKey { pid: 1, object: 2, birth: 3 };
const OPTIONS: Options = Options { keep_bodies: true, body_limit: 100 };

/// The call of the event with this number lasts from ten times that for 5 ns.
fn call(number: usize) -> Call {
    let entered = 10 * number as u64;
    Call { tid: 1, thread_name: [0; 16], library: 0, entered, returned: entered + 5 }
}

/// The messages that the events give; what is left at the end is dropped.
fn decode(options: &Options, events: &[Event]) -> Vec<Message> {
    let mut connection = Connection::new(options);
    let mut offsets = [0; 2];
    let mut out = Vec::new();
    for (number, event) in events.iter().enumerate() {
        let mut advance = |direction: Direction, length: usize| {
            let offset = offsets[direction.index()];
            offsets[direction.index()] += length as u64;
            offset
        };
        let content = match event {
            Event::Data(direction, bytes) | Event::Late(direction, bytes, _) => {
                SegmentContent::Data {
                    direction: *direction,
                    offset: advance(*direction, bytes.len()),
                    bytes: Bytes::copy_from_slice(bytes),
                }
            }
            Event::Gap(direction, length) => SegmentContent::Gap {
                direction: *direction,
                offset: advance(*direction, usize::try_from(*length).unwrap()),
                length: *length,
                reason: GapReason::RingFull,
            },
            End => SegmentContent::End,
            Stop => {
                connection.finish(&mut out);
                continue;
            }
        };
        let mut call = call(number);
        if let Event::Late(_, _, events) = event {
            call.entered -= 10 * *events as u64;
        }
        let segment = Segment { connection: CONNECTION, call, content };
        connection.push(&segment, &mut out);
    }
    out
}

/// `200 [5 hello]`; `~` marks a truncated body.
fn body(body: &Body) -> String {
    let cut = if body.truncated { "~" } else { "" };
    format!("[{} {}{cut}]", body.size, String::from_utf8_lossy(&body.bytes))
}

fn exchange(exchange: &Exchange) -> String {
    let request = exchange.request.as_ref().map_or("-".to_owned(), |request| {
        let [method, target] = [&request.method, &request.target].map(|text| text.as_deref());
        format!("{} {} {}", method.unwrap(), target.unwrap(), body(&request.body))
    });
    let response = exchange.response.as_ref().map_or("-".to_owned(), |response| {
        format!("{} {}", response.status.unwrap(), body(&response.body))
    });
    let mut shown = format!("{request} > {response}");
    if exchange.role == Role::Server {
        shown.insert_str(0, "server ");
    }
    shown
}

/// `GET / [0 ] > 200 [5 hello]`; `-` for what is absent.
fn show(message: &Message) -> String {
    match &message.content {
        Content::Data { direction, offset, bytes } => {
            format!("data {direction:?} {offset} {}", String::from_utf8_lossy(bytes))
        }
        Content::Gap { direction, length, .. } => format!("gap {direction:?} {length}"),
        Content::Http(http) => exchange(http),
        Content::Operation(operation) => format!("{operation:?}"),
        Content::Closed { .. } => panic!("an end of plaintext: {message:?}"),
        Content::WebSocket(websocket) => format!("{websocket:?}"),
        Content::Event(event) => {
            let target = event.request.as_ref().and_then(|request| request.target.as_deref());
            format!("event {} {}", target.unwrap_or("-"), body(&event.body))
        }
        Content::Opaque { bytes: [transmit, receive] } => format!("opaque {transmit} {receive}"),
    }
}

#[track_caller]
fn check(events: &[Event], expect: &[&str]) {
    let shown: Vec<String> = decode(&OPTIONS, events).iter().map(show).collect();
    assert_eq!(shown, expect, "{events:?}");
}

/// As [`check`], with `@start` of each message and `+duration` of its exchange.
#[track_caller]
fn check_times(events: &[Event], expect: &[&str]) {
    let shown: Vec<String> = decode(&OPTIONS, events)
        .iter()
        .map(|message| {
            let mut shown = format!("{} @{}", show(message), message.call.entered);
            if let Content::Http(http) = &message.content
                && let Some(duration) = http.duration_ns
            {
                write!(shown, " +{duration}").unwrap();
            }
            shown
        })
        .collect();
    assert_eq!(shown, expect, "{events:?}");
}

fn get(path: &str) -> Event {
    tx(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
}

fn ok(body: &str) -> Event {
    rx(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}
