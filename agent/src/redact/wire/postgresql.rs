//! PostgreSQL's frontend/backend protocol 3: passwords, SQL, and values of statements that name a
//! secret. <https://www.postgresql.org/docs/current/protocol-message-formats.html>

use std::collections::HashSet;

use super::{Layout, Take, Taken, Wire, lanes::Lanes};
use crate::capture::Direction;

/// Names of statements that are kept; when there are more, values of all are hidden.
const STATEMENTS: usize = 1024;
/// A longer message is none.
const LIMIT: u64 = 1 << 30;

pub(super) fn guess(bytes: &[u8], at: Direction, first: bool) -> Option<Box<dyn Wire>> {
    let startup = first && matches!(bytes, [0, 0, _, _, 0, 3, 0, _, ..]);
    // A password, alone, where the agent came just before it.
    let password = matches!(bytes, [b'p', length @ ..]
        if length.first_chunk().is_some_and(|of| u32::from_be_bytes(*of) as usize == length.len()));
    // With an encryption of its own before, it may be joined anywhere.
    (startup || password || is_asking(bytes)).then(|| {
        let layout = Postgresql { starting: startup, ..Postgresql::default() };
        Box::new(Lanes::new(at, layout)) as Box<dyn Wire>
    })
}

/// A query, or a statement that is parsed, whose length and zero bytes fit.
fn is_asking(bytes: &[u8]) -> bool {
    let [b'Q' | b'P', length @ ..] = bytes else { return false };
    let Some(of) = length.first_chunk().map(|of| u32::from_be_bytes(*of) as usize) else {
        return false;
    };
    of > 4 && length.get(of.saturating_sub(1)) == Some(&0)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    /// The length of a StartupMessage, and what it is.
    Startup,
    /// SASLInitialResponse: the mechanism, then a length.
    Mechanism,
    Initial,
    /// Parse: the statement's name, then its SQL.
    Name,
    Sql,
    /// Behind a password.
    Zero,
    /// Bind: the portal, the statement, formats, how many values, the length of each.
    Portal,
    Statement,
    Formats,
    Count,
    Counted,
    Length,
    Value,
    /// What a server asks for.
    Request,
    /// So many bytes are no secret, and end the message.
    Rest,
}

/// One side.
#[derive(Debug, Default)]
struct Side {
    at: At,
    /// Bytes of the message that are still to come.
    left: u64,
    /// Values of Bind likewise.
    values: u64,
}

#[derive(Debug, Default)]
struct Postgresql {
    starting: bool,
    /// What the server asked for last, as in its Authentication messages.
    asked: Option<u64>,
    client: Side,
    server: Side,
    /// Those that name a secret.
    statements: HashSet<Vec<u8>>,
    /// The name of the one that is parsed.
    name: Vec<u8>,
}

impl Layout for Postgresql {
    fn begin(&mut self, client: bool) -> Take {
        let starting = client && std::mem::take(&mut self.starting);
        let side = self.side(client);
        side.at = if starting { At::Startup } else { At::Head };
        Take::See(if starting { 8 } else { 5 })
    }

    fn next(&mut self, client: bool, taken: &Taken<'_>) -> Take {
        let side = self.side(client);
        side.left = side.left.saturating_sub(taken.length);
        let (at, left) = (side.at, side.left);
        match at {
            At::Startup => {
                let length = u64::from(u32::try_from(taken.number() >> 32).unwrap_or_default());
                self.rest(client, length.saturating_sub(8))
            }
            At::Head => self.head(client, taken),
            At::Mechanism => self.go(client, At::Initial, Take::See(left.min(4))),
            At::Initial => self.go(client, At::Rest, Take::Hide(left)),
            At::Name => {
                self.name = taken.seen.to_vec();
                self.go(client, At::Sql, Take::Sql { limit: left, zero: true })
            }
            At::Sql => {
                self.remember(taken.secret);
                self.rest(client, left)
            }
            At::Portal => self.go(client, At::Statement, Take::string(left)),
            At::Statement if self.is_secret(taken.seen) => {
                self.go(client, At::Formats, Take::See(left.min(2)))
            }
            At::Formats => {
                let formats = taken.number() * 2;
                self.go(client, At::Count, Take::Keep(formats.min(left)))
            }
            At::Count => self.go(client, At::Counted, Take::See(left.min(2))),
            At::Counted => {
                self.side(client).values = taken.number();
                self.value(client, left)
            }
            At::Length => {
                let length = taken.number();
                let length = if length == u64::from(u32::MAX) { 0 } else { length.min(left) };
                self.go(client, At::Value, Take::Hide(length))
            }
            At::Value => self.value(client, left),
            At::Request => {
                self.asked = Some(taken.number());
                // AuthenticationSASLContinue and AuthenticationSASLFinal: from them and the client's
                // answers a password can be guessed.
                match taken.number() {
                    11 | 12 => self.go(client, At::Rest, Take::Hide(left)),
                    _ => self.rest(client, left),
                }
            }
            At::Statement | At::Zero => self.rest(client, left),
            At::Rest => self.begin(client),
        }
    }

    fn resumes(&mut self, _: bool, input: &[u8]) -> bool {
        input.first_chunk::<5>().is_some_and(|[kind, length @ ..]| {
            kind.is_ascii_alphanumeric()
                && (4..LIMIT).contains(&u64::from(u32::from_be_bytes(*length)))
        })
    }
}

impl Postgresql {
    const fn side(&mut self, client: bool) -> &mut Side {
        if client { &mut self.client } else { &mut self.server }
    }

    const fn go(&mut self, client: bool, at: At, take: Take) -> Take {
        self.side(client).at = at;
        take
    }

    const fn rest(&mut self, client: bool, left: u64) -> Take {
        self.go(client, At::Rest, Take::Keep(left))
    }

    fn head(&mut self, client: bool, taken: &Taken<'_>) -> Take {
        let Some([kind, length @ ..]) = taken.seen.first_chunk::<5>() else { return Take::Lost };
        let length = u64::from(u32::from_be_bytes(*length));
        if !kind.is_ascii_alphanumeric() || !(4..LIMIT).contains(&length) {
            return Take::Lost;
        }
        let left = length - 4;
        self.side(client).left = left;
        let text = Take::Sql { limit: left, zero: true };
        match (client, kind) {
            (true, b'p') => self.password(left),
            (true, b'Q') => {
                self.name = Vec::new();
                self.go(client, At::Sql, text)
            }
            (true, b'P') => self.go(client, At::Name, Take::string(left)),
            (true, b'B') => self.go(client, At::Portal, Take::string(left)),
            (false, b'R') => self.go(client, At::Request, Take::See(left.min(4))),
            _ => self.rest(client, left),
        }
    }

    /// PasswordMessage, SASLInitialResponse, SASLResponse, GSSResponse: the server's request tells
    /// which.
    const fn password(&mut self, left: u64) -> Take {
        match self.asked {
            Some(10) => self.go(true, At::Mechanism, Take::string(left)),
            // A string: what ends it is kept.
            Some(3 | 5) => self.go(true, At::Zero, Take::Hide(left.saturating_sub(1))),
            _ => self.go(true, At::Rest, Take::Hide(left)),
        }
    }

    fn remember(&mut self, secret: bool) {
        let name = std::mem::take(&mut self.name);
        if !secret {
            self.statements.remove(&name);
        } else if self.statements.len() <= STATEMENTS {
            self.statements.insert(name);
        }
    }

    fn is_secret(&self, name: &[u8]) -> bool {
        self.statements.len() > STATEMENTS || self.statements.contains(name)
    }

    const fn value(&mut self, client: bool, left: u64) -> Take {
        let side = self.side(client);
        if side.values == 0 || left < 4 {
            return self.rest(client, left);
        }
        side.values -= 1;
        self.go(client, At::Length, Take::See(4))
    }
}
