//! WebSocket (RFC 6455) with permessage-deflate (RFC 7692): frames of both directions in, messages
//! out. It begins where HTTP/1 is upgraded, or on a stream of HTTP/2 (RFC 8441); who joins later does
//! not know what was agreed on.

mod frame;
mod handshake;
mod inflate;
mod open;
mod side;
#[cfg(test)]
mod tests;

pub(super) use self::handshake::Agreement;
use self::side::Side;
use super::{
    Body, Content, Message, Options, Role,
    protocol::{Flow, Protocol},
};
use crate::capture::{Call, ConnectionKey, Direction};

/// A message, or a control frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocket {
    /// The side that the traced process is on.
    pub role: Role,
    /// Which way it went.
    pub direction: Direction,
    /// The stream of HTTP/2 that it was on.
    pub stream: Option<u32>,
    /// What it is.
    pub opcode: Opcode,
    /// Frames that it came in.
    pub frames: u32,
    /// Whether it was compressed.
    pub compressed: bool,
    /// Its payload; the size is that of what was transferred, the bytes are unmasked and not
    /// compressed.
    pub body: Body,
    /// Why the body has no bytes though they are wanted.
    pub unreadable: Option<Unreadable>,
    /// What a close frame says.
    pub close: Option<Close>,
}

/// What a message is (RFC 6455, section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Opcode {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
    /// The last frame of its direction.
    Close,
    /// Asks for a pong.
    Ping,
    /// Answers a ping, or comes unasked.
    Pong,
}

impl Opcode {
    /// The fixed word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Binary => "binary",
            Self::Close => "close",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }
}

/// Why a payload is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unreadable {
    /// It refers to messages of which some was lost.
    ContextLost,
    /// It cannot be decompressed.
    Corrupt,
}

/// RFC 6455, section 5.5.1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Absent when none was sent.
    pub code: Option<u16>,
    /// Absent when none was sent, or when it is no UTF-8.
    pub reason: Option<String>,
}

/// One connection, or a stream of it.
#[derive(Debug)]
pub(super) struct WebSockets {
    connection: ConnectionKey,
    stream: Option<u32>,
    /// By [`Direction::index`].
    sides: [Side; 2],
}

impl WebSockets {
    /// One that was agreed on. `early`: so many bytes of the client were seen before.
    pub(super) fn new(
        options: &Options,
        (connection, role): (ConnectionKey, Role),
        agreement: Agreement,
        early: u64,
    ) -> Self {
        let mut sides = Direction::BOTH.map(|at| Side::new(*options, role, at, agreement));
        role.requests().of_mut(&mut sides).seen_before(early);
        Self { connection, stream: None, sides }
    }

    /// One that was agreed on for a stream of HTTP/2.
    pub(super) fn on_stream(
        options: &Options,
        who: (ConnectionKey, Role),
        agreement: Agreement,
        stream: u32,
    ) -> Self {
        Self { stream: Some(stream), ..Self::new(options, who, agreement, 0) }
    }

    /// The rest of what is coming will not come.
    pub(super) fn cut(&mut self, out: &mut Vec<Message>) {
        let mut told = Vec::new();
        self.sides.iter_mut().for_each(|side| side.cut(&mut told));
        self.tell(told, out);
    }

    fn tell(&self, told: Vec<(Call, WebSocket)>, out: &mut Vec<Message>) {
        let Self { connection, stream, .. } = *self;
        out.extend(told.into_iter().map(|(call, websocket)| {
            let websocket = WebSocket { stream, ..websocket };
            let content = Content::WebSocket(Box::new(websocket));
            Message { connection, call, content }
        }));
    }
}

impl Protocol for WebSockets {
    fn push(&mut self, call: &Call, at: Direction, bytes: &[u8], out: &mut Vec<Message>) -> Flow {
        let mut told = Vec::new();
        let read = at.of_mut(&mut self.sides).push(call, bytes, &mut told);
        self.tell(told, out);
        match read {
            Ok(()) => Flow::Open,
            Err(left) => {
                self.cut(out);
                let skipped = self.sides.each_ref().map(Side::skipped);
                let mut bytes = skipped.map(|(bytes, _)| bytes);
                let of = at.of_mut(&mut bytes);
                *of = of.saturating_add(left);
                Flow::Over { bytes }
            }
        }
    }

    fn gap(&mut self, at: Direction, length: u64, out: &mut Vec<Message>) {
        let mut told = Vec::new();
        at.of_mut(&mut self.sides).gap(length, &mut told);
        self.tell(told, out);
    }

    fn finish(mut self: Box<Self>, _complete: bool, out: &mut Vec<Message>) {
        self.cut(out);
        let skipped = self.sides.each_ref().map(Side::skipped);
        let call = skipped.iter().filter_map(|(_, call)| *call).min_by_key(|call| call.entered);
        if let Some(call) = call {
            let content = Content::Opaque { bytes: skipped.map(|(bytes, _)| bytes) };
            out.push(Message { connection: self.connection, call, content });
        }
    }

    fn is_begun(&self) -> bool {
        true
    }

    fn held(&self) -> usize {
        self.sides.iter().map(Side::held).sum()
    }

    fn unread(&self) -> [usize; 2] {
        [0, 0]
    }

    fn give_up(&mut self, _out: &mut Vec<Message>) {
        self.sides.iter_mut().for_each(Side::give_up);
    }
}
