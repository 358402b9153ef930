//! The payload of a packet in, its fields out. What is missing is `None`.

use crate::decode::{Outcome, pending::TEXT_LIMIT};

/// The rest of a payload.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn int(&mut self, bytes: usize) -> Option<u64> {
        let bytes = self.take(bytes)?;
        Some(bytes.iter().rev().fold(0, |all, &byte| all << 8 | u64::from(byte)))
    }

    /// `int<lenenc>`.
    pub(super) fn length(&mut self) -> Option<u64> {
        match self.byte()? {
            0xfc => self.int(2),
            0xfd => self.int(3),
            0xfe => self.int(8),
            0xfb | 0xff => None,
            small => Some(u64::from(small)),
        }
    }

    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let end = memchr::memchr(0, self.0)?;
        let string = self.take(end)?;
        self.take(1)?;
        Some(string)
    }

    /// `string<lenenc>`.
    pub(super) fn counted(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        self.take(usize::try_from(length).ok()?)
    }
}

/// SQL as text, cut at the limit.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..TEXT_LIMIT).unwrap_or(bytes)).into_owned()
}

/// ERR_Packet: number, SQLSTATE and message.
pub(super) fn error(payload: &[u8]) -> Outcome {
    let mut fields = Fields(payload.get(1..).unwrap_or_default());
    let number = fields.int(2).map(|number| number.to_string());
    let message = match fields.0 {
        // "#" marks the SQLSTATE, which stands before the message in the client's own notation.
        [b'#', rest @ ..] => match rest.split_at_checked(5) {
            Some((state, message)) => format!("({}) {}", text(state), text(message)),
            None => text(rest),
        },
        message => text(message),
    };
    Outcome { code: number, message: Some(message), failed: true, ..Outcome::default() }
}

/// OK_Packet: rows that were changed, and the status flags.
pub(super) fn ok(payload: &[u8]) -> Option<(u64, u64)> {
    let mut fields = Fields(payload.get(1..)?);
    let affected = fields.length()?;
    fields.length()?;
    Some((affected, fields.int(2)?))
}
