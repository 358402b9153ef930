//! Where commands go on behind lost bytes: never in the text of a message, which may look like
//! commands.
//!
//! Two things tell. A reply 354 is only given to `DATA`, which is the last command that a client
//! may have sent, so a message follows. And a server that takes a message says nothing before its end:
//! behind a line that looks like a command, a reply, and nothing of the client between, the next
//! line is a command too.

use super::replies;

/// What was seen since bytes were lost.
#[derive(Debug, Default)]
pub(super) struct Resume {
    /// What is seen first may begin anywhere: of the client, of the server.
    torn: [bool; 2],
    /// The last that the client sent was a line like a command.
    command: bool,
    heard: Option<Heard>,
}

/// What the server said since the client said anything.
#[derive(Clone, Copy, Debug)]
struct Heard {
    last: u16,
    single: bool,
}

/// How the client goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resumed {
    Commands,
    Data,
}

impl Resume {
    pub(super) fn lost() -> Self {
        Self { torn: [true; 2], ..Self::default() }
    }

    /// The server said something.
    pub(super) fn server(&mut self, input: &[u8]) {
        let [_, torn] = &mut self.torn;
        let torn = std::mem::take(torn);
        let first = self.heard.is_none();
        self.heard = replies_in(input).filter(|_| !torn);
        if let Some(heard) = &mut self.heard {
            heard.single &= first;
        }
    }

    /// The client said something; `pipelines` tells whether it was seen not to wait for replies.
    pub(super) fn client(&mut self, input: &[u8], pipelines: bool) -> Option<Resumed> {
        let [torn, _] = &mut self.torn;
        let torn = std::mem::take(torn);
        match self.heard.take() {
            Some(Heard { last: 354, .. }) => return Some(Resumed::Data),
            Some(Heard { last: 200..=299, single: true })
                if self.command && !pipelines && is_command(input) =>
            {
                return Some(Resumed::Commands);
            }
            _ => {}
        }
        self.command = !torn && is_plain_command(input);
        None
    }
}

/// Whether bytes begin with a line of a command that is well known.
fn is_command(input: &[u8]) -> bool {
    let verb = input.get(..4).unwrap_or_default().to_ascii_uppercase();
    let known = [b"AUTH", b"BDAT", b"DATA"].iter().any(|known| verb == **known);
    known || input.split_inclusive(|&byte| byte == b'\n').next().is_some_and(is_plain_command)
}

/// Whether bytes are one line of a command behind which another one may follow.
pub(super) fn is_plain_command(input: &[u8]) -> bool {
    const KNOWN: [&[u8]; 10] =
        [b"EHLO", b"HELO", b"MAIL", b"RCPT", b"RSET", b"NOOP", b"QUIT", b"VRFY", b"EXPN", b"HELP"];
    let Some(line) = input.strip_suffix(b"\r\n") else { return false };
    let (verb, rest) = line.split_at_checked(4).unwrap_or((line, &[]));
    let is_text = line.iter().all(|byte| !byte.is_ascii_control());
    is_text
        && KNOWN.iter().any(|known| verb.eq_ignore_ascii_case(known))
        && rest.first().is_none_or(|&byte| byte == b' ')
}

/// Whole replies to the end, one or more.
fn replies_in(input: &[u8]) -> Option<Heard> {
    let mut lines = input.strip_suffix(b"\n")?.split(|&byte| byte == b'\n');
    let (mut last, mut goes_on, _) = replies::line(lines.next()?)?;
    let mut single = true;
    for line in lines {
        let (code, follows, _) = replies::line(line)?;
        if goes_on && code != last {
            return None;
        }
        single &= goes_on;
        (last, goes_on) = (code, follows);
    }
    (!goes_on).then_some(Heard { last, single })
}
