//! The client/server protocol of MySQL and MariaDB: what authenticates, SQL, and values of statements
//! that name a secret. <https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>

use std::collections::HashSet;

use super::{
    Layout, Take, Taken, Wire,
    lanes::{Hide, Lanes},
};
use crate::capture::Direction;

/// Statements that are kept; when there are more, values of all are hidden.
const STATEMENTS: usize = 1024;
/// A packet of this length goes on in the next.
const LONG: u64 = 0xff_ffff;

/// Capability flags.
const CLIENT_PROTOCOL_41: u32 = 0x200;
const CLIENT_SECURE_CONNECTION: u64 = 0x8000;
const CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA: u64 = 1 << 21;

/// The last command.
const COM_STMT_EXECUTE: u64 = 0x17;
const COMMANDS: u8 = 0x20;

pub(super) fn guess(bytes: &[u8], at: Direction, first: bool) -> Option<Box<dyn Wire>> {
    let [a, b, c, sequence, payload @ ..] = bytes else { return None };
    let length = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
    let fits = match sequence {
        1 | 2 if first => length >= 34 && is_handshake(payload),
        0 => length == payload.len() && is_command(payload),
        _ => false,
    };
    fits.then(|| {
        let layout = Mysql { starting: *sequence > 0, ..Mysql::default() };
        Box::new(Lanes::new(at, layout)) as Box<dyn Wire>
    })
}

/// Flags, a length, a character set, and zero bytes.
fn is_handshake(payload: &[u8]) -> bool {
    let flags = payload.first_chunk().map(|flags| u32::from_le_bytes(*flags));
    let filler = payload.get(9..28);
    flags.is_some_and(|flags| flags & CLIENT_PROTOCOL_41 != 0)
        && filler.is_some_and(|filler| filler.iter().all(|byte| *byte == 0))
}

/// COM_QUERY, COM_STMT_PREPARE, COM_CHANGE_USER.
fn is_command(payload: &[u8]) -> bool {
    match payload {
        [3 | 0x16, text @ ..] => str::from_utf8(text.get(..8).unwrap_or(text)).is_ok_and(|text| {
            text.trim_ascii_start().starts_with(|c: char| c.is_ascii_alphabetic())
        }),
        [0x11, user @ ..] => user.contains(&0) && user.len() > 8,
        _ => false,
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Head,
    /// HandshakeResponse41: flags and their filler, the user, how long the response is.
    Flags,
    User,
    Length,
    LongLength,
    /// What a client asks for.
    Command,
    Sql,
    /// COM_STMT_EXECUTE and COM_STMT_SEND_LONG_DATA: the statement, then what is no value.
    Statement,
    Before,
    /// The server's answer to a prepared statement.
    Answer,
    Prepared,
    Rest,
}

#[derive(Debug, Default)]
struct Side {
    at: At,
    /// Bytes of the packet that are still to come.
    left: u64,
    /// The packet goes on in the next, and is a secret.
    long: bool,
}

#[derive(Debug, Default)]
struct Mysql {
    starting: bool,
    /// What a client sends, but commands, authenticates it.
    authenticating: bool,
    flags: u64,
    command: u64,
    client: Side,
    server: Side,
    /// Whether the SQL that the server prepares names a secret.
    preparing: Option<bool>,
    statements: HashSet<u64>,
    /// Whether the last one that was prepared is one of them.
    last: bool,
}

impl Layout for Mysql {
    fn begin(&mut self, client: bool) -> Take {
        self.side(client).at = At::Head;
        Take::See(4)
    }

    fn next(&mut self, client: bool, taken: &Taken<'_>) -> Take {
        let side = self.side(client);
        side.left = side.left.saturating_sub(taken.length);
        let (at, left) = (side.at, side.left);
        match at {
            At::Head => self.head(client, taken),
            At::Flags => {
                self.flags = taken.little() & u64::from(u32::MAX);
                self.go(client, At::User, Take::string(left))
            }
            At::User
                if self.flags
                    & (CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA)
                    == 0 =>
            {
                self.go(client, At::Rest, Take::Until { ends: b"\0", limit: left, hide: Hide::All })
            }
            At::User => self.go(client, At::Length, Take::See(left.min(1))),
            At::Length
                if taken.number() == 0xfc
                    && self.flags & CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA != 0 =>
            {
                self.go(client, At::LongLength, Take::See(left.min(2)))
            }
            At::Length
                if taken.number() > 0xfa
                    && self.flags & CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA != 0 =>
            {
                self.go(client, At::Rest, Take::Hide(left))
            }
            At::Length | At::LongLength => {
                self.go(client, At::Rest, Take::Hide(taken.little().min(left)))
            }
            At::Command => self.command(taken.number(), left),
            At::Sql => {
                self.client.long = taken.secret && taken.length >= LONG - 1;
                if self.command == 0x16 {
                    self.preparing = Some(taken.secret);
                    self.last = taken.secret;
                }
                self.rest(client, left)
            }
            At::Statement if self.is_secret(taken.little()) => {
                let before = if self.command == COM_STMT_EXECUTE { 5 } else { 2 };
                self.go(client, At::Before, Take::Keep(left.min(before)))
            }
            At::Before => {
                self.client.long = true;
                self.go(client, At::Rest, Take::Hide(left))
            }
            At::Answer if taken.seen == [0] => {
                self.go(client, At::Prepared, Take::See(left.min(4)))
            }
            At::Prepared => {
                self.remember(taken.little());
                self.rest(client, left)
            }
            At::Statement | At::Answer => self.rest(client, left),
            At::Rest if left > 0 => Take::Keep(left),
            At::Rest => self.begin(client),
        }
    }

    fn resumes(&mut self, client: bool, input: &[u8]) -> bool {
        let [_, _, _, sequence, first, ..] = input else { return false };
        if client { *sequence == 0 && *first < COMMANDS } else { *sequence == 1 }
    }
}

impl Mysql {
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
        let number = taken.little();
        let (length, sequence) = (number & LONG, number >> 24);
        let side = self.side(client);
        let goes_on = std::mem::take(&mut side.long);
        side.left = length;
        side.long = goes_on && sequence > 0 && length == LONG;
        match (client, sequence) {
            (true, 0) => {
                self.authenticating = false;
                self.go(client, At::Command, Take::See(length.min(1)))
            }
            (true, _) if std::mem::take(&mut self.starting) => {
                self.authenticating = true;
                self.go(client, At::Flags, Take::See(length.min(32)))
            }
            (true, _) if self.authenticating || goes_on => {
                self.go(client, At::Rest, Take::Hide(length))
            }
            (false, 1) if self.preparing.is_some() => {
                self.go(client, At::Answer, Take::See(length.min(1)))
            }
            _ => self.rest(client, length),
        }
    }

    fn command(&mut self, command: u64, left: u64) -> Take {
        self.command = command;
        self.preparing = None;
        match command {
            0x03 | 0x16 => self.go(true, At::Sql, Take::Sql { limit: left, zero: false }),
            // COM_CHANGE_USER begins as the handshake does behind its filler.
            0x11 => {
                self.authenticating = true;
                self.flags |= CLIENT_SECURE_CONNECTION;
                self.flags &= !CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;
                self.go(true, At::User, Take::string(left))
            }
            COM_STMT_EXECUTE | 0x18 => self.go(true, At::Statement, Take::See(left.min(4))),
            _ => self.rest(true, left),
        }
    }

    fn remember(&mut self, statement: u64) {
        match self.preparing.take() {
            Some(true) if self.statements.len() <= STATEMENTS => {
                self.statements.insert(statement);
            }
            Some(false) => {
                self.statements.remove(&statement);
            }
            _ => {}
        }
    }

    /// MariaDB: the greatest number is the statement that was prepared last.
    fn is_secret(&self, statement: u64) -> bool {
        self.statements.len() > STATEMENTS
            || self.statements.contains(&statement)
            || (statement == u64::from(u32::MAX) && self.last)
    }
}
