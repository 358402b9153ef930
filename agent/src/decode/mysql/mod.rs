//! The client/server protocol of MySQL and MariaDB: bytes of both directions in, operations out.
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html>
//!
//! The greeting and the request for TLS are not encrypted, so a connection begins with the client's
//! HandshakeResponse41. Compressed connections are opaque behind it.

mod answers;
mod commands;
mod fields;
mod packets;
#[cfg(test)]
mod tests;
mod values;

use std::collections::HashMap;

use self::packets::{Packet, Packets};
use super::{
    Message, Role,
    dialogue::{Conversation, Dialogue},
    pending::Queue,
    postgresql::first_word,
    protocol::{Family, Guess, Sighting},
};
use crate::capture::Call;

pub(super) const FAMILY: Family = Family {
    guess,
    start: |start| {
        let (requests, answers) = (Packets::new(), Packets::new());
        Box::new(Conversation::new(start, Mysql::new(), requests, answers))
    },
};

const CLIENT_PROTOCOL_41: u64 = 0x200;
const CLIENT_SSL: u64 = 0x800;
const CLIENT_DEPRECATE_EOF: u64 = 1 << 24;
/// CLIENT_COMPRESS, and with zstd; with optional metadata, result sets have another form.
const CLIENT_COMPRESSED: u64 = 0x20 | 1 << 25 | 1 << 26;

fn guess(sighting: &Sighting<'_>) -> Guess {
    let bytes = sighting.bytes;
    let Some((&[a, b, c, sequence], payload)) = bytes.split_first_chunk() else {
        return if sighting.first { Guess::Maybe } else { Guess::No };
    };
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    if payload.len() > length || !(2..1 << 20).contains(&length) {
        return Guess::No;
    }
    let fits = match sequence {
        // Too little to say.
        2 if sighting.first && payload.len() < 28 => length >= 34,
        0 if sighting.first && payload.len() < 12 && payload.len() < length => {
            b"\x03".starts_with(payload.get(..1).unwrap_or_default())
        }
        2 if sighting.first => length >= 34 && is_handshake(payload),
        0 => is_query(payload),
        _ => false,
    };
    match fits {
        false => Guess::No,
        true if payload.len() < length => Guess::Maybe,
        true => Guess::Yes(Role::of_requests(sighting.at)),
    }
}

/// Flags, a length, a character set, and "filler to the size of the handshake response packet. All
/// 0s.", of which MariaDB uses the last four.
fn is_handshake(payload: &[u8]) -> bool {
    let needed = CLIENT_PROTOCOL_41 | CLIENT_SSL;
    let flags = payload.first_chunk().map(|flags| u64::from(u32::from_le_bytes(*flags)));
    let filler = payload.get(9..28).unwrap_or_default();
    flags.is_some_and(|flags| flags & needed == needed) && filler.iter().all(|&byte| byte == 0)
}

/// COM_QUERY with SQL.
fn is_query(payload: &[u8]) -> bool {
    const VERBS: [&str; 16] = [
        "SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "SET", "SHOW", "BEGIN", "COMMIT",
        "ROLLBACK", "CALL", "CREATE", "ALTER", "DROP", "START", "USE",
    ];
    let sql = match payload {
        [3, 0, 1, sql @ ..] | [3, sql @ ..] => sql,
        _ => return false,
    };
    let text = str::from_utf8(sql.get(..256).unwrap_or(sql));
    text.ok().and_then(first_word).is_some_and(|word| VERBS.contains(&word.as_str()))
}

/// What the next packet of the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Authentication,
    /// OK_Packet, ERR_Packet, a file's name, or the number of columns.
    First,
    /// So many column definitions.
    Columns(u64),
    AfterColumns,
    Rows,
    /// The statement's number.
    Prepare,
    /// So many definitions of parameters, then of columns.
    Definitions(u64, u64),
    Text,
}

/// A prepared statement.
#[derive(Debug)]
struct Statement {
    sql: String,
    parameters: usize,
    types: Vec<[u8; 2]>,
    cut: bool,
    /// Values were sent apart from the execution.
    long: bool,
}

/// The MySQL side of one connection.
#[derive(Debug)]
struct Mysql {
    statements: HashMap<u64, Statement>,
    /// Whether EOF packets are left out; the first result set tells where the client's was not seen.
    deprecates_eof: Option<bool>,
    compresses: bool,
    may_end_late: bool,
    /// A command was sent before the answer to the one before it.
    pipelines: bool,
}

impl Mysql {
    fn new() -> Self {
        Self {
            statements: HashMap::new(),
            deprecates_eof: None,
            compresses: false,
            may_end_late: false,
            pipelines: false,
        }
    }
}

impl Dialogue for Mysql {
    type Requests = Packets;
    type Answers = Packets;
    type Note = Phase;

    fn resumes(&mut self, begun: bool, input: &[u8]) -> bool {
        // The bytes that told the protocol come first.
        !begun || is_whole_command(input)
    }

    fn ask(
        &mut self,
        awaiting: &mut Queue<Phase>,
        request: &Packet,
        _out: &mut Vec<Message>,
    ) -> bool {
        self.request(awaiting, request)
    }

    fn answer(
        &mut self,
        awaiting: &mut Queue<Phase>,
        call: &Call,
        answer: &Packet,
        out: &mut Vec<Message>,
    ) -> bool {
        self.answered(awaiting, call, answer, out)
    }

    fn lose(&mut self, begun: bool) -> bool {
        self.statements.clear();
        !self.pipelines && begun
    }

    fn held(&self) -> usize {
        let statements = self.statements.values();
        statements.map(|known| known.sql.len() + 2 * known.types.len()).sum()
    }
}

/// One packet to the end of what the program handed to the TLS library, with a command in it.
fn is_whole_command(bytes: &[u8]) -> bool {
    let Some((&[a, b, c, 0], payload)) = bytes.split_first_chunk() else { return false };
    let length = u32::from_le_bytes([a, b, c, 0]) as usize;
    length == payload.len() && matches!(payload.first(), Some(2 | 3 | 0x0e | 0x16 | 0x17 | 0x1f))
}
