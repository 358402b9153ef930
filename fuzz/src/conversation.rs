//! Bytes as a conversation: pieces of both directions, gaps, and a way through decode, redact and emit.

use std::{io, mem, sync::Arc};

use bytes::Bytes;
use jiff::tz::TimeZone;
use tlstap::{
    capture::{Call, ConnectionKey, Direction, GapReason},
    decode::{Connection, Content, Message, Options, raw},
    emit::{Format, View, Writer},
    enrich::{Process, Record},
    reassemble::{Segment, SegmentContent},
    redact::{Redaction, Redactor},
};

const KEY: ConnectionKey = ConnectionKey { pid: 1, object: 2, birth: 3 };
const CALL: Call = Call {
    tid: 1,
    thread_name: *b"test\0\0\0\0\0\0\0\0\0\0\0\0",
    library: 0,
    entered: 1,
    returned: 2,
};
const OPTIONS: Options = Options { keep_bodies: true, body_limit: 1 << 16 };
/// Bytes that a connection may keep, whatever comes.
const MOST: usize = 8 << 20;

/// A connection with all that is behind it.
pub struct Conversation {
    decoder: Connection,
    redactor: Redactor,
    /// Of the same bytes as `--raw` has them.
    undecoded: Redactor,
    sinks: [Writer<Checked>; 2],
    process: Arc<Process>,
    /// By direction.
    offsets: [u64; 2],
    messages: Vec<Message>,
    told: u64,
}

impl Conversation {
    /// One that begins so.
    pub fn begin(opening: &[(Direction, Vec<u8>)]) -> Self {
        let sinks = [Format::Text, Format::Json]
            .map(|format| Writer::new(Checked::of(format), format, view()));
        let mut conversation = Self {
            decoder: Connection::new(&OPTIONS),
            redactor: Redactor::new(Redaction::default()),
            undecoded: Redactor::new(Redaction::default()),
            sinks,
            process: Arc::default(),
            offsets: [0; 2],
            messages: Vec::new(),
            told: 0,
        };
        opening.iter().for_each(|(direction, bytes)| conversation.say(*direction, bytes));
        conversation
    }

    /// A side says this.
    pub fn say(&mut self, direction: Direction, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let offset = self.pass(direction, bytes.len() as u64);
        let bytes = Bytes::copy_from_slice(bytes);
        self.push(SegmentContent::Data { direction, offset, bytes });
    }

    /// So much of what a side says is lost.
    pub fn lose(&mut self, direction: Direction, length: u64) {
        let offset = self.pass(direction, length);
        self.push(SegmentContent::Gap { direction, offset, length, reason: GapReason::RingFull });
    }

    /// It ends; how many records there were.
    pub fn end(mut self) -> u64 {
        self.push(SegmentContent::End);
        self.told
    }

    fn pass(&mut self, direction: Direction, length: u64) -> u64 {
        let [transmit, receive] = &mut self.offsets;
        let offset = if direction == Direction::Transmit { transmit } else { receive };
        mem::replace(offset, *offset + length)
    }

    fn push(&mut self, content: SegmentContent) {
        let segment = Segment { connection: KEY, call: CALL, content };
        self.decoder.push(&segment, &mut self.messages);
        let mut plaintext = raw::message(&segment);
        let length = |message: &Message| match &message.content {
            Content::Data { bytes, .. } => bytes.len(),
            _ => 0,
        };
        let before = length(&plaintext);
        self.undecoded.redact(&mut plaintext);
        assert_eq!(length(&plaintext), before, "what is masked has another length");
        assert!(self.decoder.held() < MOST, "{} bytes are kept", self.decoder.held());
        for mut message in self.messages.drain(..) {
            self.redactor.redact(&mut message);
            let process = Arc::clone(&self.process);
            let record = Record {
                message,
                timestamp_ns: 0,
                process,
                container: None,
                tls: None,
                socket: None,
                peer: None,
            };
            self.told += 1;
            for sink in &mut self.sinks {
                // Memory takes all.
                let _ = sink.write(&record).and_then(|()| sink.flush());
            }
        }
    }
}

/// All of a record, with colours.
pub fn view() -> View {
    View {
        headers: true,
        bodies: true,
        color: true,
        heading: false,
        zone: TimeZone::UTC,
        width: None,
    }
}

/// Takes lines of the output, and fails on one that is not what it has to be.
#[derive(Debug)]
pub struct Checked {
    check: fn(&str),
    line: Vec<u8>,
}

impl Checked {
    /// For the output in a format.
    pub fn of(format: Format) -> Self {
        let check = match format {
            Format::Text => shows_text_only,
            Format::Json => is_json,
            Format::Pcapng | Format::None => |_: &str| (),
        };
        Self { check, line: Vec::new() }
    }
}

impl io::Write for Checked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(piece);
            if let Some(line) = self.line.strip_suffix(b"\n") {
                let text = std::str::from_utf8(line);
                assert!(text.is_ok(), "output that is no UTF-8");
                (self.check)(text.unwrap_or_default());
                self.line.clear();
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        assert!(self.line.is_empty(), "a line without an end");
        Ok(())
    }
}

/// A terminal is told to show text in colours, and nothing else.
fn shows_text_only(line: &str) {
    let mut pieces = line.split("\x1b[");
    let first = pieces.next().unwrap_or_default();
    let coloured = pieces.map(|piece| {
        // Without an end it is no colour.
        let (code, text) = piece.split_once('m').unwrap_or(("no end", piece));
        assert!(code.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'), "{code:?}");
        text
    });
    for text in [first].into_iter().chain(coloured) {
        assert!(!text.chars().any(char::is_control), "a control character in {text:?}");
    }
}

fn is_json(line: &str) {
    let parsed: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(line);
    assert!(parsed.is_ok(), "no JSON: {line}");
    assert!(!line.chars().any(char::is_control), "a control character in {line:?}");
}
