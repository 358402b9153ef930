//! Segments of one connection in, messages out: finds out the protocol and hands the bytes to its
//! decoder. Knows no protocol beyond its name.

use super::{
    Content, Message, Options, Role,
    detect::{Detection, Detector},
    protocol::{Flow, Protocol, Start},
    raw,
};
use crate::{
    capture::{Call, ConnectionKey, Direction, GapReason},
    reassemble::{Segment, SegmentContent},
};

/// The decoder of one connection.
#[derive(Debug)]
pub struct Connection {
    options: Options,
    /// All bytes.
    seen: Opaque,
    state: State,
    /// See [`Self::is_malformed`].
    malformed: bool,
}

#[derive(Debug)]
enum State {
    /// No protocol seen yet.
    Detecting(Detector),
    Known(Box<dyn Protocol>),
    /// There was never a known protocol.
    Unknown,
    /// What comes after a known protocol.
    Rest(Opaque),
}

impl Connection {
    /// A connection of which nothing was seen yet.
    pub fn new(options: &Options) -> Self {
        Self {
            options: *options,
            seen: Opaque::default(),
            state: State::Detecting(Detector::default()),
            malformed: false,
        }
    }

    /// Takes the next segment and appends what it completes to `out`.
    pub fn push(&mut self, segment: &Segment, out: &mut Vec<Message>) {
        match &segment.content {
            SegmentContent::Data { direction, bytes, .. } => {
                self.seen.count(segment, *direction, bytes.len() as u64);
                self.data(segment, out);
            }
            SegmentContent::Gap { direction, length, .. } => {
                out.push(raw::message(segment));
                self.seen.count(segment, *direction, *length);
                self.gap(segment, *direction, *length, out);
            }
            SegmentContent::Shutdown => {
                if let State::Known(protocol) = &mut self.state {
                    protocol.shut_down(out);
                }
            }
            SegmentContent::End => self.over(true, out),
        }
    }

    /// Gives up on what is unfinished: the agent stops, or the process went without a word.
    pub fn finish(&mut self, out: &mut Vec<Message>) {
        self.over(false, out);
    }

    /// Bytes that are kept for messages that are not complete.
    pub fn held(&self) -> usize {
        match &self.state {
            State::Detecting(detector) => detector.held(),
            State::Known(protocol) => protocol.held(),
            State::Unknown | State::Rest(_) => 0,
        }
    }

    /// Whether it spoke a known protocol and went on with bytes that are none of it.
    pub fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// Gives up what is kept for messages that are not complete: heads become gaps, bodies are cut.
    pub fn give_up(&mut self, out: &mut Vec<Message>) {
        let Some((connection, call)) = self.seen.began.as_deref().copied() else { return };
        let unread = match &self.state {
            State::Detecting(detector) => detector.unread(),
            State::Known(protocol) => protocol.unread(),
            State::Unknown | State::Rest(_) => [0, 0],
        };
        for direction in Direction::BOTH {
            let length = *direction.of(&unread) as u64;
            if length > 0 {
                let offset = direction.of(&self.seen.bytes).saturating_sub(length);
                let reason = GapReason::Memory;
                let content = Content::Gap { direction, offset, length, reason };
                out.push(Message { connection, call, content });
            }
        }
        match &mut self.state {
            State::Detecting(detector) => {
                Direction::BOTH.into_iter().for_each(|at| detector.gap(at));
            }
            State::Known(protocol) => protocol.give_up(out),
            State::Unknown | State::Rest(_) => {}
        }
    }

    fn data(&mut self, segment: &Segment, out: &mut Vec<Message>) {
        let SegmentContent::Data { direction, bytes, .. } = &segment.content else {
            return;
        };
        match &mut self.state {
            State::Detecting(detector) => match detector.push(segment, *direction, bytes) {
                Detection::Unknown => {}
                Detection::Opaque => self.state = State::Unknown,
                Detection::Known { family, role, held, gap } => {
                    let connection = segment.connection;
                    let start = Start { options: &self.options, connection, role, gap };
                    self.state = State::Known((family.start)(&start));
                    held.iter().for_each(|segment| self.data(segment, out));
                }
            },
            State::Known(protocol) => match protocol.push(&segment.call, *direction, bytes, out) {
                Flow::Open => {}
                Flow::Over { bytes } => {
                    let began =
                        (bytes != [0, 0]).then(|| Box::new((segment.connection, segment.call)));
                    let rest = State::Rest(Opaque { began, bytes });
                    self.malformed |= protocol.is_begun() && !protocol.hands_over();
                    self.state = if protocol.is_begun() { rest } else { State::Unknown };
                }
                Flow::Becomes { next, left } => {
                    self.state = State::Known(next);
                    self.rest_of(segment, left, out);
                }
            },
            State::Unknown => {}
            State::Rest(rest) => rest.count(segment, *direction, bytes.len() as u64),
        }
    }

    /// The last bytes of a segment, so many of them, are of the protocol that it goes on in.
    fn rest_of(&mut self, segment: &Segment, left: usize, out: &mut Vec<Message>) {
        let SegmentContent::Data { direction, offset, bytes } = &segment.content else { return };
        let before = bytes.len().saturating_sub(left);
        let (direction, offset) = (*direction, offset.saturating_add(before as u64));
        let content = SegmentContent::Data { direction, offset, bytes: bytes.slice(before..) };
        if left > 0 {
            self.data(&Segment { content, ..*segment }, out);
        }
    }

    fn gap(&mut self, segment: &Segment, at: Direction, length: u64, out: &mut Vec<Message>) {
        match &mut self.state {
            State::Detecting(detector) => detector.gap(at),
            State::Known(protocol) => protocol.gap(at, length, out),
            State::Unknown => {}
            State::Rest(rest) => rest.count(segment, at, length),
        }
    }

    fn over(&mut self, complete: bool, out: &mut Vec<Message>) {
        let Self { seen, state, .. } = std::mem::replace(self, Self::new(&self.options));
        match state {
            State::Known(protocol) if protocol.is_begun() => protocol.finish(complete, out),
            State::Detecting(_) | State::Known(_) | State::Unknown => out.extend(seen.message()),
            State::Rest(rest) => out.extend(rest.message()),
        }
    }
}

/// Bytes that nothing could be made of.
#[derive(Debug, Default)]
struct Opaque {
    /// The first call that moved some. Apart, since it is looked at once, and the rest for each call.
    began: Option<Box<(ConnectionKey, Call)>>,
    /// By [`Direction::index`], lost ones included: the stream had them.
    bytes: [u64; 2],
}

impl Opaque {
    fn count(&mut self, segment: &Segment, at: Direction, length: u64) {
        self.began.get_or_insert_with(|| Box::new((segment.connection, segment.call)));
        if let Some(bytes) = self.bytes.get_mut(at.index()) {
            *bytes = bytes.saturating_add(length);
        }
    }

    fn message(self) -> Option<Message> {
        let (connection, call) = *self.began.filter(|_| self.bytes != [0, 0])?;
        Some(Message { connection, call, content: Content::Opaque { bytes: self.bytes } })
    }
}

impl Role {
    /// The role of a process that moves requests in this direction.
    pub(super) const fn of_requests(direction: Direction) -> Self {
        match direction {
            Direction::Transmit => Self::Client,
            Direction::Receive => Self::Server,
        }
    }

    /// That of the other side.
    pub(super) const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// The direction in which a process of this role moves requests.
    pub const fn requests(self) -> Direction {
        match self {
            Self::Client => Direction::Transmit,
            Self::Server => Direction::Receive,
        }
    }
}
