//! PostgreSQL's frontend/backend protocol 3 (documentation, chapter 55): bytes of both directions
//! in, operations out.
//!
//! Every message of a client that is answered waits in a queue. Queries, function calls and
//! Execute messages are told; Parse, Bind, Describe and Close only when they fail.

mod backend;
mod fields;
mod frames;
mod frontend;
mod probe;
mod statements;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub(super) use self::fields::{first_word, hexadecimal};

use self::{
    frames::{Reader, Step},
    probe::Probe,
    statements::{Statements, Undo},
};
use super::{
    Message, Role,
    pending::Pending,
    protocol::{Family, Flow, Guess, Protocol, Sighting, Start},
};
use crate::capture::{Call, ConnectionKey, Direction};

pub(super) const FAMILY: Family = Family { guess, start: |start| Box::new(Postgresql::new(start)) };

fn guess(sighting: &Sighting<'_>) -> Guess {
    let probes = (probe::startup(sighting.bytes), probe::messages(sighting.bytes));
    match probes {
        (Probe::Startup, _) if sighting.first => Guess::Yes(Role::of_requests(sighting.at)),
        (_, Probe::Messages) => Guess::Yes(Role::of_requests(sighting.at)),
        (Probe::Partial, _) if sighting.first => Guess::Maybe,
        (_, Probe::Partial) => Guess::Maybe,
        _ => Guess::No,
    }
}

/// A message of the client that awaits its answer.
#[derive(Debug)]
struct Awaiting {
    kind: Kind,
    pending: Pending,
    undo: Option<Undo>,
}

/// What ends the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An authentication request.
    Authentication,
    /// ReadyForQuery, of a message that is told.
    Query,
    /// Its own message; it is told only when it fails.
    Parse,
    Bind,
    Describe,
    Close,
    /// Its own message.
    Execute,
    /// ReadyForQuery.
    Sync,
}

/// What is known of where the connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Follows,
    /// Joined here: messages of a client were recognised, nothing is outstanding as far as known.
    Joined,
    /// Bytes were lost. `idle` when the server said since that it awaits a query.
    Lost {
        idle: bool,
    },
}

/// The PostgreSQL side of one connection.
#[derive(Debug)]
pub(super) struct Postgresql {
    connection: ConnectionKey,
    role: Role,
    frontend: Reader,
    backend: Reader,
    state: State,
    awaiting: VecDeque<Awaiting>,
    weight: usize,
    statements: Statements,
    /// Authenticated, the first ReadyForQuery has not come.
    starting: bool,
    /// The server asked for data to copy, and the client has not ended it.
    copies_in: bool,
    copied_in: bool,
    /// More than one ReadyForQuery was outstanding at once.
    pipelines: bool,
    begun: bool,
    over: bool,
}

impl Postgresql {
    fn new(start: &Start<'_>) -> Self {
        Self {
            connection: start.connection,
            role: start.role,
            frontend: Reader::new(true, false),
            backend: Reader::new(false, false),
            state: if start.gap { State::Lost { idle: false } } else { State::Joined },
            awaiting: VecDeque::new(),
            weight: 0,
            statements: Statements::default(),
            starting: false,
            copies_in: false,
            copied_in: false,
            pipelines: false,
            begun: false,
            over: false,
        }
    }

    /// Gives how many bytes do not belong to the protocol any more, when that begins here.
    fn push_frontend(
        &mut self,
        call: &Call,
        mut input: &[u8],
        out: &mut Vec<Message>,
    ) -> Option<usize> {
        match self.state {
            State::Follows => {}
            State::Joined => {
                self.frontend.startup = input.first() == Some(&0);
                self.state = State::Follows;
            }
            State::Lost { idle } => {
                if !idle || probe::messages(input) != Probe::Messages {
                    self.state = State::Lost { idle: false };
                    return None;
                }
                self.state = State::Follows;
            }
        }
        loop {
            match self.frontend.step(call, &mut input) {
                Step::More => return None,
                Step::Malformed => return Some(input.len()),
                Step::Frame(frame) if !self.ask(&frame, out) => return Some(input.len()),
                Step::Frame(_) => {}
            }
        }
    }

    /// As [`Self::push_frontend`].
    fn push_backend(
        &mut self,
        call: &Call,
        mut input: &[u8],
        out: &mut Vec<Message>,
    ) -> Option<usize> {
        if let State::Lost { idle } = &mut self.state {
            // ReadyForQuery, outside of a failed or open transaction or in one.
            *idle = matches!(input.last_chunk(), Some([b'Z', 0, 0, 0, 5, b'I' | b'T' | b'E']));
            return None;
        }
        if self.state == State::Joined {
            return None;
        }
        loop {
            match self.backend.step(call, &mut input) {
                Step::More => return None,
                Step::Malformed => return Some(input.len()),
                Step::Frame(frame) if !self.answer(call, &frame, out) => return Some(input.len()),
                Step::Frame(_) => {}
            }
        }
    }

    /// The oldest message has its answer, or never gets one.
    fn end_front(&mut self, last: Option<&Call>, out: &mut Vec<Message>) {
        if let Some(Awaiting { kind, pending, .. }) = self.awaiting.pop_front() {
            self.weight = self.weight.saturating_sub(pending.weight());
            let failed = pending.operation.outcome.as_ref().is_some_and(|outcome| outcome.failed);
            self.begun |= last.is_some();
            if failed || matches!(kind, Kind::Query | Kind::Execute | Kind::Authentication) {
                out.push(pending.message(self.connection, last));
            }
        }
    }

    fn tell_unanswered(&mut self, out: &mut Vec<Message>) {
        for awaiting in &mut self.awaiting {
            if awaiting.pending.operation.outcome.take().is_some() {
                awaiting.pending.operation.truncated = true;
            }
        }
        while !self.awaiting.is_empty() {
            self.end_front(None, out);
        }
        self.weight = 0;
    }

    fn lose(&mut self, out: &mut Vec<Message>) {
        if self.begun {
            self.tell_unanswered(out);
        }
        self.awaiting.clear();
        self.weight = 0;
        // A name may have got another meaning meanwhile.
        self.statements.clear();
        self.frontend = Reader::new(true, false);
        self.backend = Reader::new(false, false);
        self.state = State::Lost { idle: false };
        (self.starting, self.copies_in, self.copied_in) = (false, false, false);
        self.over |= self.pipelines;
    }
}

impl Protocol for Postgresql {
    fn push(&mut self, call: &Call, at: Direction, bytes: &[u8], out: &mut Vec<Message>) -> Flow {
        let left = if self.over {
            Some(bytes.len())
        } else if at == self.role.requests() {
            self.push_frontend(call, bytes, out)
        } else {
            self.push_backend(call, bytes, out)
        };
        let Some(left) = left else { return Flow::Open };
        if self.begun {
            self.tell_unanswered(out);
        }
        Flow::over(self.unread(), at, left)
    }

    fn gap(&mut self, at: Direction, length: u64, out: &mut Vec<Message>) {
        if matches!(self.state, State::Lost { .. }) {
            self.state = State::Lost { idle: false };
            return;
        }
        let reader =
            if at == self.role.requests() { &mut self.frontend } else { &mut self.backend };
        if !reader.skip(length) {
            self.lose(out);
        }
    }

    fn finish(mut self: Box<Self>, _complete: bool, out: &mut Vec<Message>) {
        self.tell_unanswered(out);
    }

    fn is_begun(&self) -> bool {
        self.begun
    }

    fn held(&self) -> usize {
        self.frontend.held() + self.backend.held() + self.weight + self.statements.weight()
    }

    fn unread(&self) -> [usize; 2] {
        let (frontend, backend) = (self.frontend.unread(), self.backend.unread());
        Direction::BOTH.map(|at| if at == self.role.requests() { frontend } else { backend })
    }

    fn give_up(&mut self, out: &mut Vec<Message>) {
        self.lose(out);
    }
}
