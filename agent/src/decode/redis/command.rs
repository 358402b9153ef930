//! A value that a client sent in, the command out: its text, and what it changes.

use std::fmt::Write as _;

use super::{Asked, value::Value};
use crate::decode::{
    Role, System,
    pending::{Pending, TEXT_LIMIT},
};

/// What a command that succeeds changes in how the connection is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Resp3,
    Resp2,
    Subscribe,
    Monitor,
    Reset,
    /// Replies do not follow commands any more.
    Silence,
}

/// Whether bytes begin with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    No,
    Partial,
    Command,
}

/// A command in an array, of which the first two lines and the name are looked at. A reply that is
/// an array of strings looks the same, so only commands that are well known count.
pub(super) fn probe(bytes: &[u8]) -> Probe {
    let mut rest = bytes;
    for mark in [b'*', b'$'] {
        match length(&mut rest, mark) {
            Ok(1..=1_000_000) => {}
            Ok(_) => return Probe::No,
            Err(probe) => return probe,
        }
    }
    let word = rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"._-".contains(byte));
    let Some(word) = word.and_then(|end| rest.get(..end)) else {
        return if rest.len() > 32 { Probe::No } else { Probe::Partial };
    };
    let declared = bytes.split(|&byte| byte == b'\n').nth(1).and_then(|line| line.get(1..));
    let declared = declared.and_then(|line| line.strip_suffix(b"\r"));
    if declared != Some(word.len().to_string().as_bytes()) || !is_known(word) {
        return Probe::No;
    }
    match rest.get(word.len()..) {
        Some([b'\r', b'\n', ..]) => Probe::Command,
        Some([b'\r']) => Probe::Partial,
        _ => Probe::No,
    }
}

fn length(rest: &mut &[u8], mark: u8) -> Result<u64, Probe> {
    let Some((&first, digits)) = rest.split_first() else { return Err(Probe::Partial) };
    if first != mark {
        return Err(Probe::No);
    }
    let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, end) = digits.split_at_checked(count).ok_or(Probe::No)?;
    if count > 7 || (count == 0 && !end.is_empty()) {
        return Err(Probe::No);
    }
    match end {
        [b'\r', b'\n', after @ ..] => {
            *rest = after;
            let number = str::from_utf8(number).ok().and_then(|number| number.parse().ok());
            number.ok_or(Probe::No)
        }
        [] | [b'\r'] => Err(Probe::Partial),
        _ => Err(Probe::No),
    }
}

/// Commands that begin connections, or are the usual ones on them.
fn is_known(word: &[u8]) -> bool {
    const KNOWN: &str = " ACL APPEND AUTH BLPOP BRPOP BLMOVE BZPOPMIN CLIENT CLUSTER COMMAND CONFIG COPY \
        DBSIZE DECR DECRBY DEL DISCARD ECHO EVAL EVALSHA EXEC EXISTS EXPIRE EXPIREAT FCALL FLUSHALL \
        FLUSHDB GEOADD GET GETDEL GETEX GETRANGE GETSET HDEL HELLO HEXISTS HGET HGETALL HINCRBY \
        HKEYS HLEN HMGET HMSET HSCAN HSET HSETNX HVALS INCR INCRBY INCRBYFLOAT INFO KEYS LINDEX \
        LLEN LMOVE LPOP LPUSH LRANGE LREM LSET LTRIM MEMORY MGET MONITOR MSET MSETNX MULTI OBJECT \
        PERSIST PEXPIRE PFADD PFCOUNT PING PSETEX PSUBSCRIBE PTTL PUBLISH PUBSUB PUNSUBSCRIBE QUIT \
        RENAME RESET ROLE RPOP RPUSH SADD SCAN SCARD SCRIPT SDIFF SELECT SENTINEL SET SETBIT \
        SETEX SETNX SETRANGE SINTER SISMEMBER SLOWLOG SMEMBERS SORT SPOP SPUBLISH SREM SSCAN \
        SSUBSCRIBE STRLEN SUBSCRIBE SUNION TIME TOUCH TTL TYPE UNLINK UNSUBSCRIBE UNWATCH WAIT WATCH \
        XACK XADD XDEL XGROUP XLEN XRANGE XREAD XREADGROUP ZADD ZCARD ZINCRBY ZRANGE \
        ZRANGEBYSCORE ZRANK ZREM ZSCORE ";
    let Ok(word) = str::from_utf8(word) else { return false };
    !word.is_empty() && KNOWN.contains(&format!(" {} ", word.to_ascii_uppercase()))
}

/// The operation. `None` for what is no command.
pub(super) fn read(value: &Value, role: Role) -> Option<(Pending, Asked)> {
    let first = value.parts.first()?;
    let name = String::from_utf8_lossy(&first.bytes).to_ascii_uppercase();
    let word = |index: usize| value.part(index).to_ascii_uppercase();
    let effect = match (name.as_str(), word(1).as_slice(), word(2).as_slice()) {
        ("HELLO", b"3", _) => Effect::Resp3,
        ("HELLO", b"2", _) => Effect::Resp2,
        ("SUBSCRIBE" | "PSUBSCRIBE" | "SSUBSCRIBE", ..) => Effect::Subscribe,
        ("MONITOR", ..) => Effect::Monitor,
        ("RESET", ..) => Effect::Reset,
        ("SYNC" | "PSYNC", ..) => Effect::Silence,
        ("CLIENT", b"REPLY", b"OFF" | b"SKIP") => Effect::Silence,
        _ => Effect::None,
    };
    // "*n" elements are the name and n - 1 arguments.
    let arguments = value.count.map_or(value.parts.len() as u64, |count| count).saturating_sub(1);
    let replies = if name.ends_with("SUBSCRIBE") { arguments.max(1) } else { 1 };
    let mut pending = Pending::request(System::Redis, role, value.began, value.size);
    let (text, cut) = text(value);
    pending.operation.truncated = cut || value.cut;
    pending.operation.text = Some(text);
    pending.operation.name = Some(name.chars().take(64).collect());
    Some((pending, Asked { replies, effect }))
}

/// The command with its arguments, and whether some of it is left out.
fn text(value: &Value) -> (String, bool) {
    let mut text = String::new();
    for (index, part) in value.parts.iter().enumerate() {
        if text.len() >= TEXT_LIMIT {
            return (text, true);
        }
        if index > 0 {
            text.push(' ');
        }
        write_argument(&part.bytes, &mut text);
    }
    (text, false)
}

/// As redis-cli reads it back: in quotes where it is more than one plain word.
fn write_argument(bytes: &[u8], out: &mut String) {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'\\".contains(byte);
    match str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.bytes().all(|byte| plain(&byte) || byte >= 0x80) => {
            out.push_str(text);
        }
        valid => {
            out.push('"');
            match valid {
                Ok(text) => text.chars().for_each(|char| match char {
                    '\u{20}'..='\u{7e}' if char != '"' && char != '\\' => out.push(char),
                    '\u{80}'.. => out.push(char),
                    _ => escape(char as u8, out),
                }),
                Err(_) => bytes.iter().for_each(|&byte| match byte {
                    b' '..=b'~' if byte != b'"' && byte != b'\\' => out.push(char::from(byte)),
                    _ => escape(byte, out),
                }),
            }
            out.push('"');
        }
    }
}

fn escape(byte: u8, out: &mut String) {
    match byte {
        b'\n' => out.push_str("\\n"),
        b'\r' => out.push_str("\\r"),
        b'\t' => out.push_str("\\t"),
        b'"' | b'\\' => {
            out.push('\\');
            out.push(char::from(byte));
        }
        // Writing into a string does not fail.
        _ => drop(write!(out, "\\x{byte:02x}")),
    }
}
