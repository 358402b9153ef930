//! A line in, the command out. Of one that authenticates nothing is kept but its mechanism.

use super::{Kind, Mode};

/// A command line.
pub(super) struct Command {
    pub(super) name: String,
    pub(super) text: String,
    pub(super) kind: Kind,
    /// What the client says behind it.
    pub(super) mode: Mode,
}

impl Command {
    /// `None` for what is no command.
    pub(super) fn of(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
        let mut words = text.split_ascii_whitespace();
        let name = words.next()?.to_ascii_uppercase();
        let is_verb = name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_verb || text.starts_with(' ') {
            return None;
        }
        let argument = words.next();
        let (kind, mode) = match name.as_str() {
            "DATA" => (Kind::Data, Mode::Silence),
            "AUTH" => (Kind::Authentication, Mode::Authentication),
            "BDAT" => match argument?.parse().ok()? {
                0 => (Kind::Plain, Mode::Commands),
                length => (Kind::Chunk, Mode::Chunk(length)),
            },
            _ => (Kind::Plain, Mode::Commands),
        };
        let text = match (kind, argument) {
            (Kind::Authentication, Some(mechanism)) => format!("{name} {mechanism}"),
            _ => text.into_owned(),
        };
        Some(Self { name, text, kind, mode })
    }
}
