//! Bytes of one direction in, messages of the wire protocol out
//! (<https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>), as much of each as is
//! of use. The length, the message's number and the one that it answers are in front.

use crate::{
    capture::Call,
    decode::{
        dialogue::{Reader, Step},
        frames::{Frame, Frames, Framing, Head},
    },
};

/// How much is kept of a message, and of one that was compressed.
pub(super) const KEEP: usize = 1 << 20;
/// `maxMessageSizeBytes`, with what the server allows itself beyond it.
const LENGTH_LIMIT: u32 = 48_000_000 + (64 << 10);
const HEADER: usize = 16;

/// The kinds of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Reply = 1,
    Update = 2001,
    Insert = 2002,
    Query = 2004,
    GetMore = 2005,
    Delete = 2006,
    KillCursors = 2007,
    Compressed = 2012,
    Message = 2013,
}

impl Opcode {
    const ALL: [Self; 9] = [
        Self::Reply,
        Self::Update,
        Self::Insert,
        Self::Query,
        Self::GetMore,
        Self::Delete,
        Self::KillCursors,
        Self::Compressed,
        Self::Message,
    ];

    pub(super) fn of(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|known| *known as u32 == code)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Reply => "OP_REPLY",
            Self::Update => "OP_UPDATE",
            Self::Insert => "OP_INSERT",
            Self::Query => "OP_QUERY",
            Self::GetMore => "OP_GET_MORE",
            Self::Delete => "OP_DELETE",
            Self::KillCursors => "OP_KILL_CURSORS",
            Self::Compressed => "OP_COMPRESSED",
            Self::Message => "OP_MSG",
        }
    }
}

/// What is in front of every message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) length: u32,
    pub(super) id: u32,
    /// The message that it answers; 0 for a request.
    pub(super) answers: u32,
    pub(super) opcode: Opcode,
}

impl Header {
    /// `None` for what is none, or not all of one.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let int = |at: usize| {
            let bytes = bytes.get(at..)?.first_chunk()?;
            Some(u32::from_le_bytes(*bytes))
        };
        let (length, id, answers) = (int(0)?, int(4)?, int(8)?);
        let opcode = Opcode::of(int(12)?)?;
        let plausible = length > 20 && length <= LENGTH_LIMIT;
        plausible.then_some(Self { length, id, answers, opcode })
    }
}

/// A message, or its beginning.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) header: Header,
    pub(super) frame: Frame,
}

#[derive(Debug)]
pub(super) struct Packets {
    frames: Frames<Heads>,
    /// Bytes were lost: the next message begins where what is handed to the TLS library does.
    lost: bool,
}

impl Packets {
    pub(super) const fn new(lost: bool) -> Self {
        Self { frames: Frames::new(Heads), lost }
    }
}

impl Reader for Packets {
    type Item = Packet;

    fn step(&mut self, call: &Call, input: &mut &[u8]) -> Step<Packet> {
        if self.lost && !input.is_empty() {
            if !super::probe::is_message(input) {
                *input = &[];
                return Step::More;
            }
            self.lost = false;
        }
        match self.frames.step(call, input) {
            Step::Item(frame) => match Header::of(&frame.head) {
                Some(header) => Step::Item(Packet { header, frame }),
                None => Step::Malformed,
            },
            Step::More => Step::More,
            Step::Malformed => Step::Malformed,
        }
    }

    fn skip(&mut self, length: u64) -> bool {
        self.frames.skip(length)
    }

    fn reset(&mut self) {
        self.frames.reset();
        self.lost = true;
    }

    fn held(&self) -> usize {
        self.frames.held()
    }

    fn unread(&self) -> usize {
        self.frames.unread()
    }
}

#[derive(Debug)]
struct Heads;

impl Framing for Heads {
    fn head(&mut self, head: &[u8]) -> Head {
        if head.len() < HEADER {
            return Head::More;
        }
        match Header::of(head) {
            Some(header) => {
                let length = u64::from(header.length).saturating_sub(HEADER as u64);
                Head::Body { length, keep: KEEP }
            }
            None => Head::Malformed,
        }
    }
}
