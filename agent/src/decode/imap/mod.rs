//! IMAP (RFC 9051, and RFC 3501): bytes of both directions in, commands with their completions out,
//! paired by their tags.
//!
//! Of literals, which messages are, only the size is told, of authentication the mechanism. Where TLS
//! began by `STARTTLS`, the client speaks first; otherwise the server does, by a greeting.

mod command;
mod probe;
mod responses;
#[cfg(test)]
mod tests;

use self::{
    command::{Command, Kind},
    probe::Resume,
    responses::{Response, Responses, literal, trimmed},
};
use super::{
    Message, Outcome, System,
    dialogue::{Conversation, Dialogue},
    pending::{Pending, Queue, TEXT_LIMIT},
    protocol::Family,
    smtp::requests::{Next, Request, Requests},
};
use crate::capture::Call;

/// A connection that is seen from its beginning.
pub(super) const FAMILY: Family = Family {
    guess: probe::guess,
    start: |start| {
        let (requests, responses) = (Requests::new(), Responses::default());
        Box::new(Conversation::new(start, Imap::new(), requests, responses).with_its_beginning())
    },
};

/// One that is older.
pub(super) const JOINED: Family = Family {
    guess: probe::guess_joined,
    start: |start| {
        let (requests, responses) = (Requests::new(), Responses::default());
        Box::new(Conversation::new(start, Imap::new(), requests, responses))
    },
};

/// A command that awaits its completion.
#[derive(Debug)]
struct Asked {
    tag: String,
    kind: Kind,
}

/// What the client says next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Commands,
    /// Nothing, before the server asks for a literal of so many bytes.
    Silence(u64),
    Literal(u64),
    /// What is behind a literal.
    Rest,
    /// Lines that are secret.
    Secrets,
    /// The line that ends `IDLE`.
    Idle,
}

/// The IMAP side of one connection.
#[derive(Debug)]
struct Imap {
    mode: Mode,
    /// The command that the rest belongs to has ended.
    ended: bool,
    /// Whether these are commands for sure: what is seen first may be the text of a message, on a
    /// connection that is older than the agent.
    proven: bool,
    /// Whether anything was said on the connection.
    opened: bool,
    resume: Resume,
}

impl Imap {
    fn new() -> Self {
        Self {
            mode: Mode::Commands,
            ended: false,
            proven: false,
            opened: false,
            resume: Resume::default(),
        }
    }

    /// `false` for what is no command.
    fn command(&mut self, awaiting: &mut Queue<Asked>, request: &Request) -> bool {
        let Some(line) = request.line.as_deref().map(trimmed) else { return false };
        let Some(command) = Command::of(line) else { return false };
        // A server says nothing to the text of a message.
        if !(self.proven || awaiting.begun || (awaiting.is_empty() && command.is_known())) {
            return false;
        }
        let Command { tag, name, text, kind } = command;
        let mut pending =
            Pending::request(System::Imap, awaiting.role, request.began, request.size);
        pending.operation.name = Some(name);
        pending.operation.text = Some(text);
        (self.ended, self.opened) = (false, true);
        self.mode = match kind {
            Kind::Authenticate => Mode::Secrets,
            Kind::Idle => Mode::Idle,
            Kind::Plain | Kind::Login | Kind::Turns => Mode::Commands,
        };
        let known = self.part(line, request.cut);
        // More of the request comes.
        pending.operation.truncated = self.mode != Mode::Commands;
        awaiting.push(pending, Asked { tag, kind }) && known
    }

    /// A line of a command: whether a literal is behind it. `false` when that is not known.
    fn part(&mut self, line: &[u8], cut: bool) -> bool {
        match literal(line) {
            Some((length, true)) => self.mode = Mode::Literal(length),
            Some((length, false)) => self.mode = Mode::Silence(length),
            None => {}
        }
        !cut
    }

    /// More of the last command.
    fn more(&mut self, awaiting: &mut Queue<Asked>, request: &Request) -> bool {
        if self.ended {
            return self.left_over(request);
        }
        let Some(asked) = awaiting.back_mut() else { return false };
        let operation = &mut asked.pending.operation;
        operation.request_size = operation.request_size.saturating_add(request.size);
        match (self.mode, request.line.as_deref().map(trimmed)) {
            (Mode::Literal(_), None) => {
                self.mode = Mode::Rest;
                // Of what is lost in a literal nothing would be told.
                true
            }
            (Mode::Rest, Some(line)) => {
                self.mode = Mode::Commands;
                let room = operation.text.as_ref().is_some_and(|text| text.len() < TEXT_LIMIT);
                if let Some(text) = operation.text.as_mut().filter(|_| room)
                    && !matches!(asked.note.kind, Kind::Login | Kind::Authenticate)
                {
                    text.push_str(&String::from_utf8_lossy(line));
                }
                let known = self.part(line, request.cut);
                operation.truncated = self.mode != Mode::Commands || !room;
                known
            }
            (Mode::Secrets, Some(_)) => true,
            (Mode::Idle, Some(line)) => {
                self.mode = Mode::Commands;
                operation.truncated = false;
                line.eq_ignore_ascii_case(b"DONE")
            }
            _ => false,
        }
    }

    /// What is on its way to a command that has ended.
    fn left_over(&mut self, request: &Request) -> bool {
        match request.line.as_deref().map(trimmed) {
            None => {
                self.mode = Mode::Rest;
                true
            }
            Some(line) => {
                self.mode = Mode::Commands;
                self.part(line, request.cut)
            }
        }
    }

    /// "+": the server asks for more of the last command.
    fn goes_on(&mut self, awaiting: &mut Queue<Asked>, response: &Response) -> bool {
        let Some(asked) = awaiting.back_mut() else { return false };
        let size = &mut asked.pending.operation.response_size;
        *size = size.saturating_add(response.size);
        if let Mode::Silence(length) = self.mode {
            self.mode = Mode::Literal(length);
        }
        true
    }

    /// What no tag belongs to.
    fn untagged(
        &mut self,
        awaiting: &mut Queue<Asked>,
        call: &Call,
        response: &Response,
        out: &mut Vec<Message>,
    ) -> bool {
        let is_greeting = !std::mem::replace(&mut self.opened, true);
        if !is_greeting {
            // Of several commands nobody knows to which it belongs.
            if awaiting.len() == 1
                && let Some(asked) = awaiting.front_mut()
            {
                let operation = &mut asked.pending.operation;
                operation.response_size = operation.response_size.saturating_add(response.size);
            }
            let text = String::from_utf8_lossy(&response.line);
            let is_bye = text.get(..6).is_some_and(|start| start.eq_ignore_ascii_case("* BYE "));
            if !is_bye || !awaiting.is_empty() {
                return true;
            }
        }
        let Some((_, outcome)) = completion(&response.line) else { return false };
        let (began, size) = (response.began, response.size);
        let mut pending = Pending::unasked(System::Imap, awaiting.role, began, size);
        pending.operation.name = Some(if is_greeting { "greeting" } else { "BYE" }.to_owned());
        pending.operation.truncated = response.cut;
        pending.operation.outcome = Some(outcome);
        awaiting.tell(pending, Some(call), out);
        true
    }

    /// The end of a command; `false` when the connection cannot be followed further.
    fn completed(
        &mut self,
        awaiting: &mut Queue<Asked>,
        call: &Call,
        response: &Response,
        out: &mut Vec<Message>,
    ) -> bool {
        let Some((tag, outcome)) = completion(&response.line) else { return false };
        // Of a command that was not seen.
        let Some(at) = awaiting.position(|asked| asked.tag == tag) else { return true };
        let is_last = at + 1 == awaiting.len();
        let Some(asked) = awaiting.get_mut(at) else { return false };
        let operation = &mut asked.pending.operation;
        operation.response_size = operation.response_size.saturating_add(response.size);
        let turns = asked.note.kind == Kind::Turns && !outcome.failed;
        operation.outcome = Some(outcome);
        if is_last {
            match self.mode {
                // A literal that is not asked for is not sent.
                Mode::Silence(_) | Mode::Secrets | Mode::Idle => {
                    operation.truncated = false;
                    self.mode = Mode::Commands;
                }
                Mode::Commands => {}
                Mode::Literal(_) | Mode::Rest => self.ended = true,
            }
        }
        operation.truncated |= response.cut;
        awaiting.end(at, Some(call), out);
        !turns
    }
}

impl Dialogue for Imap {
    type Requests = Requests;
    type Answers = Responses;
    type Note = Asked;

    fn resumes(&mut self, _begun: bool, input: &[u8]) -> bool {
        (self.mode, self.ended, self.opened) = (Mode::Commands, false, true);
        self.proven = self.resume.client(input);
        self.proven
    }

    fn overhears(&mut self, input: &[u8]) {
        self.resume.server(input);
    }

    fn direct(&mut self, requests: &mut Requests) {
        // An empty literal has no bytes to wait for.
        if self.mode == Mode::Literal(0) {
            self.mode = Mode::Rest;
        }
        requests.expect(match self.mode {
            Mode::Literal(length) => Next::Chunk(length),
            _ => Next::Line,
        });
    }

    fn ask(
        &mut self,
        awaiting: &mut Queue<Asked>,
        request: &Request,
        _out: &mut Vec<Message>,
    ) -> bool {
        match self.mode {
            Mode::Commands => self.command(awaiting, request),
            Mode::Silence(_) => false,
            Mode::Literal(_) | Mode::Rest | Mode::Secrets | Mode::Idle => {
                self.more(awaiting, request)
            }
        }
    }

    fn answer(
        &mut self,
        awaiting: &mut Queue<Asked>,
        call: &Call,
        response: &Response,
        out: &mut Vec<Message>,
    ) -> bool {
        match response.line.first() {
            Some(b'*') => self.untagged(awaiting, call, response, out),
            Some(b'+') => self.goes_on(awaiting, response),
            _ => self.completed(awaiting, call, response, out),
        }
    }

    fn lose(&mut self, _begun: bool) -> bool {
        self.resume = Resume::lost();
        true
    }

    fn held(&self) -> usize {
        self.resume.held()
    }
}

/// The tag of a status response, and what it says: the code in brackets stays in front of its words.
fn completion(line: &[u8]) -> Option<(String, Outcome)> {
    let text = String::from_utf8_lossy(line);
    let mut parts = text.splitn(3, ' ');
    let (tag, status) = (parts.next()?, parts.next()?.to_ascii_uppercase());
    let failed = match status.as_str() {
        "OK" | "PREAUTH" => false,
        "NO" | "BAD" | "BYE" => true,
        _ => return None,
    };
    let message = parts.next().map(str::to_owned).filter(|message| !message.is_empty());
    Some((tag.to_owned(), Outcome { code: Some(status), message, failed, ..Outcome::default() }))
}
