//! What a protocol's decoder is to the rest: one folder or file each, named in [`FAMILIES`] only.

use std::fmt;

use super::{
    Message, Options, Role, amqp, http1, http2, imap, kafka, mongodb, mqtt, mysql, postgresql,
    redis, smtp,
};
use crate::capture::{Call, ConnectionKey, Direction};

/// All protocols that are decoded, the surest first: when several claim a connection by the same
/// bytes, the first has it.
pub(super) const FAMILIES: [Family; 13] = [
    http1::FAMILY,
    http2::FAMILY,
    postgresql::FAMILY,
    mongodb::FAMILY,
    mysql::FAMILY,
    redis::FAMILY,
    mqtt::FAMILY,
    amqp::FAMILY,
    kafka::FAMILY,
    smtp::FAMILY,
    smtp::JOINED,
    imap::FAMILY,
    imap::JOINED,
];

/// A protocol, before a connection is known to speak it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    /// What the bytes of one direction say. Looked at again, with more of them, while the answer
    /// is [`Guess::Maybe`].
    pub(super) guess: fn(&Sighting<'_>) -> Guess,
    /// A decoder for a connection that speaks it.
    pub(super) start: fn(&Start<'_>) -> Box<dyn Protocol>,
}

/// Bytes of one direction that may begin a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: Direction,
    /// Whether nothing of this direction was seen or lost before. The connection may be older than
    /// the agent all the same.
    pub(super) first: bool,
}

/// Whether bytes are of a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guess {
    No,
    /// More of them are needed.
    Maybe,
    /// The process has this role.
    Yes(Role),
}

/// What a decoder begins with. It then is given the bytes that told the protocol, and all that
/// follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Start<'a> {
    pub(super) options: &'a Options,
    pub(super) connection: ConnectionKey,
    pub(super) role: Role,
    /// Whether messages may have been lost already.
    pub(super) gap: bool,
}

/// The decoder of one connection. It never fails: what it cannot read it leaves, see [`Flow`].
pub(super) trait Protocol: fmt::Debug + Send {
    /// Takes the next bytes of a direction and appends what they complete. `call` moved them.
    fn push(&mut self, call: &Call, at: Direction, bytes: &[u8], out: &mut Vec<Message>) -> Flow;

    /// The next bytes of a direction were lost; 0 when nobody knows how many.
    fn gap(&mut self, at: Direction, length: u64, out: &mut Vec<Message>);

    /// The process sends nothing more.
    fn shut_down(&mut self, _out: &mut Vec<Message>) {}

    /// Nothing more comes: appends what is unfinished. `complete` tells whether the connection
    /// itself ended, and did not only get out of sight.
    fn finish(self: Box<Self>, complete: bool, out: &mut Vec<Message>);

    /// Whether the two sides agreed to go on in something else, when it is [`Flow::Over`].
    fn hands_over(&self) -> bool {
        false
    }

    /// Whether any message was recognised. If not, the connection is told as one of no known
    /// protocol.
    fn is_begun(&self) -> bool;

    /// Bytes that are kept for messages that are not complete.
    fn held(&self) -> usize;

    /// By [`Direction::index`]: how many of the last bytes belong to a beginning of a message of
    /// which nothing can be told yet.
    fn unread(&self) -> [usize; 2];

    /// Gives up what is kept: a beginning of which nothing can be told (it is told as a gap), and
    /// bodies, which are cut.
    fn give_up(&mut self, out: &mut Vec<Message>);
}

/// Whether the connection still speaks the protocol.
#[derive(Debug)]
pub(super) enum Flow {
    Open,
    /// It was upgraded, became a tunnel, or is malformed. So many bytes of each direction, by
    /// [`Direction::index`], lie behind the last message already.
    Over {
        bytes: [u64; 2],
    },
    /// It goes on in another protocol, with the last bytes of the input, so many of them.
    Becomes {
        next: Box<dyn Protocol>,
        left: usize,
    },
}

impl Flow {
    /// It is over with `left` bytes of the input in this direction not read, behind those of each
    /// that were not read before.
    pub(super) fn over(unread: [usize; 2], at: Direction, left: usize) -> Self {
        let mut bytes = unread.map(|length| length as u64);
        let of = at.of_mut(&mut bytes);
        *of = of.saturating_add(left as u64);
        Self::Over { bytes }
    }
}
