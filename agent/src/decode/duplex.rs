//! Protocols in which both sides ask, or in which an answer names its request: what they share. Each
//! direction is read by itself, so that a loss in one leaves the other readable.

use std::{fmt, mem};

use super::{
    Message, Role,
    dialogue::Step,
    frames::{Frame, Head, Next},
    pending::Queue,
    protocol::{Flow, Protocol, Start},
};
use crate::capture::{Call, Direction};

/// What a protocol makes of frames.
pub(super) trait Duplex: fmt::Debug + Send {
    /// What is noted of a request that awaits its answer.
    type Note: fmt::Debug + Send;

    /// Whether these bytes may be the first that a client sends on any connection.
    fn begins(&self, input: &[u8]) -> bool;

    /// Whether bytes of a side begin a frame, after others of it were lost or none were seen.
    fn resumes(&mut self, awaiting: &Queue<Self::Note>, side: Role, input: &[u8]) -> bool;

    /// As [`super::frames::Framing::head`], of a side.
    fn head(&mut self, awaiting: &Queue<Self::Note>, side: Role, head: &[u8]) -> Head;

    /// Takes a frame of a side; `None` when the connection cannot be followed further. `call` moved
    /// its last byte.
    fn take(
        &mut self,
        awaiting: &mut Queue<Self::Note>,
        side: Role,
        call: &Call,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> Option<()>;

    /// Bytes of a side were lost, and with them, maybe, answers to what the other side asked. Called
    /// again when the side is read again: there may be more that was asked meanwhile.
    fn lose(&mut self, awaiting: &mut Queue<Self::Note>, side: Role, out: &mut Vec<Message>);

    /// Bytes that are kept beside those of the queue.
    fn held(&self) -> usize {
        0
    }
}

/// One connection of such a protocol.
#[derive(Debug)]
pub(super) struct Line<D: Duplex> {
    duplex: D,
    awaiting: Queue<D::Note>,
    /// By [`Direction::index`], as all below.
    readers: [Next; 2],
    /// Joined here, or bytes were lost: where the next frame begins is not known.
    lost: [bool; 2],
    /// A frame was read since.
    proven: [bool; 2],
    /// Nothing of the client was seen, nor anything lost.
    fresh: bool,
}

impl<D: Duplex> Line<D> {
    pub(super) fn new(start: &Start<'_>, duplex: D) -> Self {
        Self {
            duplex,
            awaiting: Queue::new(start),
            readers: <[Next; 2]>::default(),
            lost: [true; 2],
            proven: [false; 2],
            fresh: !start.gap,
        }
    }

    fn side(&self, at: Direction) -> Role {
        if at == self.awaiting.role.requests() { Role::Client } else { Role::Server }
    }

    /// Whether it is known where the next frame of this direction begins.
    fn finds(&mut self, at: Direction, input: &[u8], out: &mut Vec<Message>) -> bool {
        let side = self.side(at);
        if side == Role::Client && mem::take(&mut self.fresh) && self.duplex.begins(input) {
            self.lost = [false; 2];
            return true;
        }
        let found = self.duplex.resumes(&self.awaiting, side, input);
        if found {
            *at.of_mut(&mut self.lost) = false;
            self.duplex.lose(&mut self.awaiting, side, out);
        }
        found
    }

    /// Gives how many bytes do not belong to the protocol any more, when that begins here.
    fn read(
        &mut self,
        call: &Call,
        at: Direction,
        mut input: &[u8],
        out: &mut Vec<Message>,
    ) -> Option<usize> {
        if *at.of(&self.lost) && !self.finds(at, input, out) {
            return None;
        }
        let side = self.side(at);
        loop {
            let Self { duplex, awaiting, readers, .. } = self;
            let reader = at.of_mut(readers);
            match reader.step(call, &mut input, |head| duplex.head(awaiting, side, head)) {
                Step::More => return None,
                Step::Item(frame) => {
                    if duplex.take(awaiting, side, call, &frame, out).is_none() {
                        return Some(input.len());
                    }
                    *at.of_mut(&mut self.proven) = true;
                }
                Step::Malformed if *at.of(&self.proven) => return Some(input.len()),
                // It was no beginning.
                Step::Malformed => {
                    self.lose(at, out);
                    return None;
                }
            }
        }
    }

    fn lose(&mut self, at: Direction, out: &mut Vec<Message>) {
        *at.of_mut(&mut self.readers) = Next::default();
        *at.of_mut(&mut self.lost) = true;
        *at.of_mut(&mut self.proven) = false;
        self.fresh = false;
        let side = self.side(at);
        self.duplex.lose(&mut self.awaiting, side, out);
    }
}

impl<D: Duplex> Protocol for Line<D> {
    fn push(&mut self, call: &Call, at: Direction, bytes: &[u8], out: &mut Vec<Message>) -> Flow {
        let Some(left) = self.read(call, at, bytes, out) else { return Flow::Open };
        if self.is_begun() {
            self.awaiting.tell_unanswered(out);
        }
        Flow::over(self.unread(), at, left)
    }

    fn gap(&mut self, at: Direction, length: u64, out: &mut Vec<Message>) {
        if *at.of(&self.lost) || !at.of_mut(&mut self.readers).skip(length) {
            self.lose(at, out);
        }
    }

    fn finish(mut self: Box<Self>, _complete: bool, out: &mut Vec<Message>) {
        self.awaiting.tell_unanswered(out);
    }

    fn is_begun(&self) -> bool {
        self.awaiting.begun
    }

    fn held(&self) -> usize {
        let read: usize = self.readers.iter().map(Next::held).sum();
        read + self.awaiting.weight + self.duplex.held()
    }

    fn unread(&self) -> [usize; 2] {
        self.readers.each_ref().map(Next::unread)
    }

    fn give_up(&mut self, out: &mut Vec<Message>) {
        self.awaiting.lose(out);
        Direction::BOTH.into_iter().for_each(|at| self.lose(at, out));
    }
}
