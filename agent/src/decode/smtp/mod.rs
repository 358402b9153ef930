//! SMTP (RFC 5321) with its extensions for pipelining, chunks and authentication: bytes of both
//! directions in, commands with their replies out.
//!
//! Of messages only the size is told, of authentication the mechanism. Where TLS began by `STARTTLS`,
//! the client speaks first; otherwise the server does, by a greeting.

mod command;
mod probe;
mod replies;
pub(super) mod requests;
mod resume;
#[cfg(test)]
mod tests;

use self::{
    command::Command,
    replies::{Replies, Reply},
    requests::{Next, Request, Requests},
    resume::{Resume, Resumed},
};
use super::{
    Message, Operation, Outcome, System,
    dialogue::{Conversation, Dialogue},
    pending::{Pending, Queue},
    protocol::Family,
};
use crate::capture::Call;

/// A connection that is seen from its beginning.
pub(super) const FAMILY: Family = Family {
    guess: probe::guess,
    start: |start| {
        let (requests, replies) = (Requests::new(), Replies::default());
        Box::new(Conversation::new(start, Smtp::new(), requests, replies).with_its_beginning())
    },
};

/// One that is older.
pub(super) const JOINED: Family = Family {
    guess: probe::guess_joined,
    start: |start| {
        let (requests, replies) = (Requests::new(), Replies::default());
        Box::new(Conversation::new(start, Smtp::new(), requests, replies))
    },
};

/// What a command that awaits its reply brings with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    /// 334 asks for another line, which is secret.
    Authentication,
    /// 354 asks for the message.
    Data,
    /// The chunk is behind the command.
    Chunk,
}

/// What the client says next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Commands,
    /// Lines that are secret.
    Authentication,
    /// Nothing, before the reply to `DATA`.
    Silence,
    Data,
    Chunk(u64),
}

/// Which command a message or a chunk belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// The last one that awaits its reply.
    Last,
    /// One that has had its reply.
    Answered,
    /// A `DATA` that was lost.
    Unseen,
}

/// The SMTP side of one connection.
#[derive(Debug)]
struct Smtp {
    mode: Mode,
    owner: Owner,
    /// Whether these are commands for sure: what is seen first may be the text of a message, on a
    /// connection that is older than the agent.
    proven: bool,
    /// Whether anything was said on the connection.
    opened: bool,
    /// A command was sent before the reply to the one before it.
    pipelines: bool,
    resume: Resume,
}

impl Smtp {
    fn new() -> Self {
        Self {
            mode: Mode::Commands,
            owner: Owner::Last,
            proven: false,
            opened: false,
            pipelines: false,
            resume: Resume::default(),
        }
    }

    /// `false` for what is no command.
    fn command(&mut self, awaiting: &mut Queue<Kind>, request: &Request) -> bool {
        let Some(command) = request.line.as_deref().and_then(Command::of) else { return false };
        // A server says nothing to the text of a message before its end.
        if !(self.proven || awaiting.begun || awaiting.is_empty()) {
            return false;
        }
        let Command { name, text, kind, mode } = command;
        let (began, size) = (request.began, request.size);
        let mut pending = Pending::request(System::Smtp, awaiting.role, began, size);
        // More of the request comes.
        pending.operation.truncated = request.cut || kind != Kind::Plain;
        pending.operation.name = Some(name);
        pending.operation.text = Some(text);
        (self.mode, self.owner, self.opened) = (mode, Owner::Last, true);
        self.pipelines |= !awaiting.is_empty();
        awaiting.push(pending, kind)
    }

    /// A line that a server asked for to authenticate the client: it is counted.
    fn secret(awaiting: &mut Queue<Kind>, request: &Request) -> bool {
        if let Some(asked) = awaiting.back_mut() {
            let size = &mut asked.pending.operation.request_size;
            *size = size.saturating_add(request.size);
        }
        true
    }

    /// A message or a chunk is complete.
    fn body(&mut self, awaiting: &mut Queue<Kind>, request: &Request) -> bool {
        self.mode = Mode::Commands;
        let (began, size) = (request.began, request.size);
        match std::mem::replace(&mut self.owner, Owner::Last) {
            Owner::Last => {
                let Some(asked) = awaiting.back_mut() else { return false };
                let operation = &mut asked.pending.operation;
                operation.request_size = operation.request_size.saturating_add(size);
                operation.truncated = request.cut;
                true
            }
            Owner::Answered => true,
            Owner::Unseen => {
                let mut pending = Pending::request(System::Smtp, awaiting.role, began, size);
                pending.operation.name = Some("DATA".to_owned());
                pending.operation.truncated = true;
                awaiting.push(pending, Kind::Data)
            }
        }
    }

    /// Nobody asked for a reply.
    fn unasked(
        &mut self,
        awaiting: &mut Queue<Kind>,
        call: &Call,
        reply: &Reply,
        out: &mut Vec<Message>,
    ) -> bool {
        let is_greeting = !std::mem::replace(&mut self.opened, true);
        // A server may say that it ends the connection (RFC 5321, section 3.8).
        if !is_greeting && reply.code != 421 {
            return false;
        }
        let (began, size) = (reply.began, reply.size);
        let mut pending = Pending::unasked(System::Smtp, awaiting.role, began, size);
        pending.operation.name = is_greeting.then(|| "greeting".to_owned());
        conclude(&mut pending.operation, reply);
        awaiting.tell(pending, Some(call), out);
        true
    }

    /// What a reply to the oldest command says of what the client says next: `None` when the
    /// command awaits another one, `Some(false)` when that cannot be.
    fn turn(&mut self, kind: Kind, code: u16, alone: bool) -> Option<bool> {
        match (kind, self.mode, code) {
            (Kind::Data, Mode::Silence, 354) if alone => {
                self.mode = Mode::Data;
                return None;
            }
            (Kind::Authentication, Mode::Authentication, 334) if alone => return None,
            (Kind::Data, Mode::Silence, _) | (Kind::Authentication, Mode::Authentication, _)
                if alone =>
            {
                self.mode = Mode::Commands;
            }
            // Before the end of a message only a refusal may come.
            (Kind::Data, Mode::Data, ..400) => return Some(false),
            (Kind::Data, Mode::Data, _) | (Kind::Chunk, Mode::Chunk(_), _) if alone => {
                self.owner = Owner::Answered;
            }
            _ => {}
        }
        Some(true)
    }
}

impl Dialogue for Smtp {
    type Requests = Requests;
    type Answers = Replies;
    type Note = Kind;

    fn resumes(&mut self, _begun: bool, input: &[u8]) -> bool {
        let resumed = self.resume.client(input, self.pipelines);
        (self.mode, self.owner) = match resumed {
            Some(Resumed::Data) => (Mode::Data, Owner::Unseen),
            Some(Resumed::Commands) | None => (Mode::Commands, Owner::Last),
        };
        (self.opened, self.proven) = (true, resumed.is_some());
        self.proven
    }

    fn overhears(&mut self, input: &[u8]) {
        self.resume.server(input);
    }

    fn direct(&mut self, requests: &mut Requests) {
        requests.expect(match self.mode {
            Mode::Data => Next::Data,
            Mode::Chunk(length) => Next::Chunk(length),
            Mode::Commands | Mode::Authentication | Mode::Silence => Next::Line,
        });
    }

    fn ask(
        &mut self,
        awaiting: &mut Queue<Kind>,
        request: &Request,
        _out: &mut Vec<Message>,
    ) -> bool {
        match (self.mode, request.line.is_some()) {
            (Mode::Commands, true) => self.command(awaiting, request),
            (Mode::Authentication, true) => Self::secret(awaiting, request),
            (Mode::Data | Mode::Chunk(_), false) => self.body(awaiting, request),
            _ => false,
        }
    }

    fn answer(
        &mut self,
        awaiting: &mut Queue<Kind>,
        call: &Call,
        reply: &Reply,
        out: &mut Vec<Message>,
    ) -> bool {
        // Nor does it agree to it.
        if !(self.proven || awaiting.begun || awaiting.is_empty()) && reply.code >= 400 {
            return false;
        }
        let alone = awaiting.len() == 1;
        let Some(front) = awaiting.front_mut() else {
            return self.unasked(awaiting, call, reply, out);
        };
        let operation = &mut front.pending.operation;
        operation.response_size = operation.response_size.saturating_add(reply.size);
        let before = self.mode;
        match self.turn(front.note, reply.code, alone) {
            None => return true,
            Some(false) => return false,
            Some(true) => {}
        }
        if matches!(before, Mode::Silence | Mode::Authentication) && alone {
            operation.truncated = false;
        }
        conclude(operation, reply);
        awaiting.end_front(Some(call), out);
        true
    }

    fn lose(&mut self, _begun: bool) -> bool {
        self.resume = Resume::lost();
        true
    }
}

/// The reply that ends an operation.
fn conclude(operation: &mut Operation, reply: &Reply) {
    operation.truncated |= !reply.whole;
    operation.outcome = Some(Outcome {
        code: Some(reply.code.to_string()),
        message: Some(String::from_utf8_lossy(&reply.text).into_owned()),
        failed: reply.code >= 400,
        ..Outcome::default()
    });
}
