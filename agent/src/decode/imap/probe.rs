//! What tells IMAP from other protocols, and where commands go on behind lost bytes.

use super::{
    command::{Command, is_tag},
    responses::{Responses, literal, trimmed},
};
use crate::{
    capture::Call,
    decode::{
        Role,
        dialogue::{Reader as _, Step},
        protocol::{Guess, Sighting},
    },
};

const GREETINGS: [&[u8]; 3] = [b"* OK ", b"* PREAUTH ", b"* BYE "];
/// The first line is no longer.
const LINE_LIMIT: usize = 4096;

/// A greeting, or the first command behind STARTTLS.
pub(super) fn guess(sighting: &Sighting<'_>) -> Guess {
    let bytes = sighting.bytes;
    let end = memchr::memchr(b'\n', bytes);
    if !sighting.first || (end.is_none() && bytes.len() > LINE_LIMIT) {
        return Guess::No;
    }
    let begins = |known: &[u8]| {
        let length = known.len().min(bytes.len());
        bytes.get(..length) == known.get(..length)
    };
    match end {
        None if GREETINGS.into_iter().any(begins) || may_be_command(bytes) => Guess::Maybe,
        Some(_) if GREETINGS.into_iter().any(begins) => {
            Guess::Yes(Role::of_requests(sighting.at.opposite()))
        }
        Some(end) if is_numbered_command(bytes.get(..=end).unwrap_or_default()) => {
            Guess::Yes(Role::of_requests(sighting.at))
        }
        _ => Guess::No,
    }
}

/// A command at any time, alone.
pub(super) fn guess_joined(sighting: &Sighting<'_>) -> Guess {
    let is = !sighting.first && is_numbered_command(sighting.bytes);
    if is { Guess::Yes(Role::of_requests(sighting.at)) } else { Guess::No }
}

fn may_be_command(bytes: &[u8]) -> bool {
    let mut words = bytes.split(|&byte| byte == b' ');
    let tag = words.next().and_then(|tag| str::from_utf8(tag).ok()).unwrap_or_default();
    let mut words = words.chain([&[][..]]);
    let name = words.next().unwrap_or_default();
    let letters = name.iter().all(|byte| byte.is_ascii_alphabetic() || *byte == b'\r');
    // A first word alone may be anything.
    is_tag(tag.trim_end_matches('\r')) && letters && tag.len() <= 16
}

/// A tag with a digit, as all clients number their commands, and a command that is well known.
fn is_numbered_command(line: &[u8]) -> bool {
    command(line).is_some_and(|command| command.tag.bytes().any(|byte| byte.is_ascii_digit()))
}

/// A command that is a line of its own.
fn command(line: &[u8]) -> Option<Command> {
    let line = line.strip_suffix(b"\r\n").filter(|line| !line.contains(&b'\n'))?;
    Command::of(line).filter(Command::is_known)
}

/// What was seen since bytes were lost. A line that looks like a command may be of a message, but a
/// server that answers its tag has taken it for one; and if the client said nothing else, commands
/// go on behind it.
#[derive(Debug, Default)]
pub(super) struct Resume {
    /// What is seen first may begin anywhere: of the client, of the server.
    torn: [bool; 2],
    tag: Option<String>,
    answered: bool,
}

impl Resume {
    pub(super) fn lost() -> Self {
        Self { torn: [true; 2], ..Self::default() }
    }

    /// Bytes that are kept.
    pub(super) fn held(&self) -> usize {
        self.tag.as_ref().map_or(0, String::len)
    }

    pub(super) fn server(&mut self, input: &[u8]) {
        let [_, torn] = &mut self.torn;
        let torn = std::mem::take(torn);
        let last = if torn { None } else { last_line(input) };
        let tag = last.as_deref().and_then(|line| line.split(' ').next());
        self.answered = tag.is_some() && tag == self.tag.as_deref();
    }

    /// The client said something: whether commands go on with it.
    pub(super) fn client(&mut self, input: &[u8]) -> bool {
        let [torn, _] = &mut self.torn;
        let torn = std::mem::take(torn);
        let end = memchr::memchr(b'\n', input).map_or(input.len(), |end| end + 1);
        let first = command(input.get(..end).unwrap_or_default());
        let goes_on = std::mem::take(&mut self.answered) && first.is_some();
        let alone = end == input.len() && literal(trimmed(input)).is_none() && !torn;
        let asked = first.filter(|command| alone && command.kind == super::Kind::Plain);
        self.tag = asked.map(|command| command.tag);
        goes_on
    }
}

/// Whole responses to the end: the line of the last one.
fn last_line(mut input: &[u8]) -> Option<String> {
    let mut responses = Responses::default();
    let call = Call { tid: 0, thread_name: [0; 16], library: 0, entered: 0, returned: 0 };
    let mut last = None;
    while !input.is_empty() {
        match responses.step(&call, &mut input) {
            Step::Item(response) => last = Some(response.line),
            Step::More | Step::Malformed => return None,
        }
    }
    String::from_utf8(last?).ok()
}
