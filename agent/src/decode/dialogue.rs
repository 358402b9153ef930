//! Protocols in which one side asks and the other answers: what they share. Bytes of both
//! directions go through a [`Reader`] each; what it reads goes to the protocol's [`Dialogue`].

use std::fmt;

use super::{
    Message,
    pending::Queue,
    protocol::{Flow, Protocol, Start},
};
use crate::capture::{Call, Direction};

/// Bytes of one direction in, messages of a protocol out.
pub(super) trait Reader: fmt::Debug + Send {
    type Item;

    /// Takes bytes from the front of `input`, up to the end of a message.
    fn step(&mut self, call: &Call, input: &mut &[u8]) -> Step<Self::Item>;

    /// Passes over lost bytes within a message; `false` when it is not known what they were.
    fn skip(&mut self, length: u64) -> bool;

    /// The next bytes begin a message.
    fn reset(&mut self);

    /// Bytes that are kept.
    fn held(&self) -> usize;

    /// Bytes of a message that is not complete.
    fn unread(&self) -> usize;
}

pub(super) enum Step<T> {
    /// The input was taken, the message is not complete.
    More,
    Item(T),
    Malformed,
}

/// What a protocol makes of messages.
pub(super) trait Dialogue: fmt::Debug + Send {
    type Requests: Reader;
    type Answers: Reader;
    /// What is noted of a request that awaits its answer.
    type Note: fmt::Debug + Send;

    /// Whether bytes of a client begin a request, after others were lost or none were seen. `begun`
    /// tells whether anything was recognised before.
    fn resumes(&mut self, begun: bool, input: &[u8]) -> bool;

    /// Bytes of a server while it is not known what they belong to.
    fn overhears(&mut self, _input: &[u8]) {}

    /// Tells the reader of requests what comes next, where that depends on what the server said.
    fn direct(&mut self, _requests: &mut Self::Requests) {}

    /// Takes a message of the client; `false` when the connection cannot be followed further.
    fn ask(
        &mut self,
        awaiting: &mut Queue<Self::Note>,
        request: &<Self::Requests as Reader>::Item,
        out: &mut Vec<Message>,
    ) -> bool;

    /// As [`Self::ask`], of the server. `call` moved its last byte.
    fn answer(
        &mut self,
        awaiting: &mut Queue<Self::Note>,
        call: &Call,
        answer: &<Self::Answers as Reader>::Item,
        out: &mut Vec<Message>,
    ) -> bool;

    /// Bytes were lost, nothing is awaited any more: `false` when requests and answers cannot be
    /// paired again. `begun` is as in [`Self::resumes`].
    fn lose(&mut self, begun: bool) -> bool;

    /// Bytes that are kept beside those of the queue.
    fn held(&self) -> usize {
        0
    }
}

/// One connection of such a protocol.
#[derive(Debug)]
pub(super) struct Conversation<D: Dialogue> {
    dialogue: D,
    /// The requests that await their answers.
    awaiting: Queue<D::Note>,
    requests: D::Requests,
    answers: D::Answers,
    /// Joined here, or bytes were lost: what answers belong to is not known.
    lost: bool,
    over: bool,
}

impl<D: Dialogue> Conversation<D> {
    pub(super) const fn new(
        start: &Start<'_>,
        dialogue: D,
        requests: D::Requests,
        answers: D::Answers,
    ) -> Self {
        let awaiting = Queue::new(start);
        Self { dialogue, awaiting, requests, answers, lost: true, over: false }
    }

    /// The bytes that told the protocol are the beginning of both directions.
    pub(super) fn with_its_beginning(mut self) -> Self {
        self.lost = false;
        self
    }

    /// Gives how many bytes do not belong to the protocol any more, when that begins here.
    fn client(&mut self, call: &Call, mut input: &[u8], out: &mut Vec<Message>) -> Option<usize> {
        if self.lost && !self.dialogue.resumes(self.awaiting.begun, input) {
            return None;
        }
        self.lost = false;
        loop {
            self.dialogue.direct(&mut self.requests);
            match self.requests.step(call, &mut input) {
                Step::More => return None,
                Step::Item(request) if self.dialogue.ask(&mut self.awaiting, &request, out) => {}
                Step::Item(_) | Step::Malformed => return Some(input.len()),
            }
        }
    }

    /// As [`Self::client`].
    fn server(&mut self, call: &Call, mut input: &[u8], out: &mut Vec<Message>) -> Option<usize> {
        if self.lost {
            self.dialogue.overhears(input);
            return None;
        }
        loop {
            match self.answers.step(call, &mut input) {
                Step::More => return None,
                Step::Item(answer)
                    if self.dialogue.answer(&mut self.awaiting, call, &answer, out) => {}
                Step::Item(_) | Step::Malformed => return Some(input.len()),
            }
        }
    }
}

impl<D: Dialogue> Protocol for Conversation<D> {
    fn push(&mut self, call: &Call, at: Direction, bytes: &[u8], out: &mut Vec<Message>) -> Flow {
        let left = if self.over {
            Some(bytes.len())
        } else if at == self.awaiting.role.requests() {
            self.client(call, bytes, out)
        } else {
            self.server(call, bytes, out)
        };
        let Some(left) = left else { return Flow::Open };
        if self.is_begun() {
            self.awaiting.tell_unanswered(out);
        }
        Flow::over(self.unread(), at, left)
    }

    fn gap(&mut self, at: Direction, length: u64, out: &mut Vec<Message>) {
        let asks = at == self.awaiting.role.requests();
        let skipped =
            !self.lost && if asks { self.requests.skip(length) } else { self.answers.skip(length) };
        if !skipped {
            self.give_up(out);
        }
    }

    fn finish(mut self: Box<Self>, _complete: bool, out: &mut Vec<Message>) {
        self.awaiting.tell_unanswered(out);
    }

    fn is_begun(&self) -> bool {
        self.awaiting.begun
    }

    fn held(&self) -> usize {
        let read = self.requests.held() + self.answers.held();
        read + self.awaiting.weight + self.dialogue.held()
    }

    fn unread(&self) -> [usize; 2] {
        let (requests, answers) = (self.requests.unread(), self.answers.unread());
        Direction::BOTH
            .map(|at| if at == self.awaiting.role.requests() { requests } else { answers })
    }

    fn give_up(&mut self, out: &mut Vec<Message>) {
        self.awaiting.lose(out);
        self.requests.reset();
        self.answers.reset();
        self.lost = true;
        self.over |= !self.dialogue.lose(self.awaiting.begun);
    }
}
