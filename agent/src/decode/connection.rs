//! Segments of one connection in, messages out: finds out the protocol and hands the bytes to its
//! decoder. Knows no protocol beyond its name.

use super::{
    Content, Message, Options, Role,
    detect::{Detection, Detector},
    http1::{Flow, Http1},
    raw,
};
use crate::{
    capture::{Call, ConnectionKey, Direction},
    reassemble::{Segment, SegmentContent},
};

/// The decoder of one connection.
#[derive(Debug)]
pub struct Connection {
    options: Options,
    /// All bytes.
    seen: Opaque,
    state: State,
}

#[derive(Debug)]
enum State {
    /// No protocol seen yet.
    Detecting(Detector),
    Http(Box<Http1>),
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
                out.extend(raw::message(segment));
                self.seen.count(segment, *direction, *length);
                self.gap(segment, *direction, *length, out);
            }
            SegmentContent::Shutdown => {
                if let State::Http(http) = &mut self.state {
                    http.shut_down(out);
                }
            }
            SegmentContent::End => self.over(true, out),
        }
    }

    /// Gives up on what is unfinished: the agent stops, or the process went without a word.
    pub fn finish(&mut self, out: &mut Vec<Message>) {
        self.over(false, out);
    }

    fn data(&mut self, segment: &Segment, out: &mut Vec<Message>) {
        let SegmentContent::Data { direction, bytes, .. } = &segment.content else {
            return;
        };
        match &mut self.state {
            State::Detecting(detector) => match detector.push(segment, *direction, bytes) {
                Detection::Unknown => {}
                Detection::Opaque => self.state = State::Unknown,
                Detection::Http1 { role, held, gap } => {
                    let http = Http1::new(&self.options, segment.connection, role, gap);
                    self.state = State::Http(Box::new(http));
                    held.iter().for_each(|segment| self.data(segment, out));
                }
            },
            State::Http(http) => {
                if let Flow::Over { bytes } = http.push(&segment.call, *direction, bytes, out) {
                    let began = (bytes != [0, 0]).then_some((segment.connection, segment.call));
                    let rest = State::Rest(Opaque { began, bytes });
                    self.state = if http.is_begun() { rest } else { State::Unknown };
                }
            }
            State::Unknown => {}
            State::Rest(rest) => rest.count(segment, *direction, bytes.len() as u64),
        }
    }

    fn gap(&mut self, segment: &Segment, at: Direction, length: u64, out: &mut Vec<Message>) {
        match &mut self.state {
            State::Detecting(detector) => detector.gap(at),
            State::Http(http) => http.gap(at, length, out),
            State::Unknown => {}
            State::Rest(rest) => rest.count(segment, at, length),
        }
    }

    fn over(&mut self, complete: bool, out: &mut Vec<Message>) {
        let Self { seen, state, .. } = std::mem::replace(self, Self::new(&self.options));
        match state {
            State::Http(http) if http.is_begun() => http.finish(complete, out),
            State::Detecting(_) | State::Http(_) | State::Unknown => out.extend(seen.message()),
            State::Rest(rest) => out.extend(rest.message()),
        }
    }
}

/// Bytes that nothing could be made of.
#[derive(Debug, Default)]
struct Opaque {
    /// The first call that moved some.
    began: Option<(ConnectionKey, Call)>,
    /// By [`Direction::index`], lost ones included: the stream had them.
    bytes: [u64; 2],
}

impl Opaque {
    fn count(&mut self, segment: &Segment, at: Direction, length: u64) {
        self.began.get_or_insert((segment.connection, segment.call));
        if let Some(bytes) = self.bytes.get_mut(at.index()) {
            *bytes = bytes.saturating_add(length);
        }
    }

    fn message(self) -> Option<Message> {
        let (connection, call) = self.began.filter(|_| self.bytes != [0, 0])?;
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

    /// The direction in which a process of this role moves requests.
    pub(super) const fn requests(self) -> Direction {
        match self {
            Self::Client => Direction::Transmit,
            Self::Server => Direction::Receive,
        }
    }
}
