//! SQL in, the place of its secrets out: from the first quote behind a secret's name to the last
//! one, as for decoded operations.

use std::ops::Range;

use crate::redact::{names, word::Word};

#[derive(Debug, Default)]
pub(super) struct Sql {
    word: Word,
    named: bool,
    /// Behind the first quote.
    quoted: bool,
}

impl Sql {
    /// Whether a secret was named.
    pub(super) const fn is_secret(&self) -> bool {
        self.named
    }

    /// Gives the place of the secret in the next bytes of the text; `last`: no others follow.
    pub(super) fn read(&mut self, text: &[u8], last: bool) -> Option<Range<usize>> {
        let mut at = 0;
        if !self.named {
            at = text.iter().position(|&byte| self.ends_name(byte)).unwrap_or(text.len());
            if last && at == text.len() {
                self.name();
            }
        }
        if !self.named {
            return None;
        }
        let quotes = |byte: &u8| matches!(byte, b'\'' | b'"' | b'$');
        let tail = text.get(at..).unwrap_or_default();
        let start = match self.quoted {
            true => at,
            false => at + tail.iter().position(quotes)? + 1,
        };
        self.quoted = true;
        let tail = text.get(start..).unwrap_or_default();
        let end = tail.iter().rposition(quotes).filter(|_| last).map(|end| start + end);
        Some(start..end.unwrap_or(text.len()))
    }

    /// Whether a secret's name ended before this byte.
    fn ends_name(&mut self, byte: u8) -> bool {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            self.word.push(byte);
            return false;
        }
        self.name();
        self.named
    }

    fn name(&mut self) {
        let name = self.word.as_bytes();
        self.named |= name == b"identified" || names::kind(name, false).is_some();
        self.word.clear();
    }
}
