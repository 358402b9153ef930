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
    sinks: [Writer<io::Sink>; 2],
    process: Arc<Process>,
    /// By direction.
    offsets: [u64; 2],
    messages: Vec<Message>,
    told: u64,
}

impl Conversation {
    /// One that begins so.
    pub fn begin(opening: &[(Direction, Vec<u8>)]) -> Self {
        let view = View {
            headers: true,
            bodies: true,
            color: true,
            heading: false,
            zone: TimeZone::UTC,
            width: None,
        };
        let sinks = [Format::Text, Format::Json]
            .map(|format| Writer::new(io::sink(), format, view.clone()));
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
                // A sink takes all.
                let _ = sink.write(&record);
            }
        }
    }
}
