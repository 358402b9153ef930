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

pub(super) use self::fields::{first_word, hexadecimal};

use self::{
    frames::Typed,
    probe::Probe,
    statements::{Statements, Undo},
};
use super::{
    Message, Role,
    dialogue::{Conversation, Dialogue},
    frames::{Frame, Frames},
    pending::Queue,
    protocol::{Family, Guess, Sighting, Start},
};
use crate::capture::Call;

pub(super) const FAMILY: Family = Family {
    guess,
    start: |start| {
        let requests = Frames::new(Typed::new(true, !start.gap));
        let answers = Frames::new(Typed::new(false, false));
        Box::new(Conversation::new(start, Postgresql::new(start), requests, answers))
    },
};

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
struct Asked {
    kind: Kind,
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

/// The PostgreSQL side of one connection.
#[derive(Debug)]
struct Postgresql {
    statements: Statements,
    /// Nothing was lost before, or the server said since that it awaits a query.
    idle: bool,
    /// Bytes were lost, so that only whole messages to the end of a call are a beginning.
    lost: bool,
    /// Authenticated, the first ReadyForQuery has not come.
    starting: bool,
    /// The server asked for data to copy, and the client has not ended it.
    copies_in: bool,
    copied_in: bool,
    /// More than one ReadyForQuery was outstanding at once.
    pipelines: bool,
}

impl Postgresql {
    fn new(start: &Start<'_>) -> Self {
        Self {
            statements: Statements::default(),
            idle: !start.gap,
            lost: start.gap,
            starting: false,
            copies_in: false,
            copied_in: false,
            pipelines: false,
        }
    }
}

impl Dialogue for Postgresql {
    type Requests = Frames<Typed>;
    type Answers = Frames<Typed>;
    type Note = Asked;

    fn resumes(&mut self, _begun: bool, input: &[u8]) -> bool {
        self.idle &= !self.lost || probe::messages(input) == Probe::Messages;
        self.idle
    }

    fn overhears(&mut self, input: &[u8]) {
        // ReadyForQuery, outside of a failed or open transaction or in one.
        let ready = matches!(input.last_chunk(), Some([b'Z', 0, 0, 0, 5, b'I' | b'T' | b'E']));
        self.idle = ready || !self.lost;
    }

    fn ask(
        &mut self,
        awaiting: &mut Queue<Asked>,
        request: &Frame,
        out: &mut Vec<Message>,
    ) -> bool {
        self.message(awaiting, request, out)
    }

    fn answer(
        &mut self,
        awaiting: &mut Queue<Asked>,
        call: &Call,
        answer: &Frame,
        out: &mut Vec<Message>,
    ) -> bool {
        self.answered(awaiting, call, answer, out)
    }

    fn lose(&mut self, _begun: bool) -> bool {
        // A name may have got another meaning meanwhile.
        self.statements.clear();
        (self.idle, self.lost) = (false, true);
        (self.starting, self.copies_in, self.copied_in) = (false, false, false);
        !self.pipelines
    }

    fn held(&self) -> usize {
        self.statements.weight()
    }
}
