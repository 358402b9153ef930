//! SMTP (RFC 5321), IMAP (RFC 9051) and POP3 (RFC 1939): lines that authenticate.

use super::{
    Layout, Take, Taken, Wire,
    lanes::{Hide, Lanes},
};
use crate::capture::Direction;

/// A longer line is none.
const LINE: u64 = 64 << 10;
/// SASL mechanisms (IANA's registry), by how they begin; another word may be the secret itself.
const MECHANISMS: [&[u8]; 16] = [
    b"PLAIN",
    b"LOGIN",
    b"CRAM-",
    b"SCRAM-",
    b"DIGEST-",
    b"XOAUTH",
    b"OAUTH",
    b"GSSAPI",
    b"GSS-",
    b"NTLM",
    b"EXTERNAL",
    b"ANONYMOUS",
    b"KERBEROS",
    b"SAML20",
    b"OTP",
    b"GS2-",
];

pub(super) fn guess(bytes: &[u8], at: Direction, first: bool) -> Option<Box<dyn Wire>> {
    let line = bytes.get(..80).unwrap_or(bytes);
    let line = memchr::memchr(b'\n', line).and_then(|end| line.get(..end))?.to_ascii_uppercase();
    let mut words = line.trim_ascii_end().split(|byte| *byte == b' ');
    let (word, next) = (words.next()?, words.next());
    let client = match word {
        b"EHLO" | b"HELO" | b"LHLO" | b"AUTH" | b"USER" | b"PASS" | b"APOP" => next.is_some(),
        b"CAPA" => true,
        tag if !tag.is_empty() && tag.len() < 16 && tag.iter().all(is_tag) => matches!(
            next,
            Some(b"CAPABILITY" | b"LOGIN" | b"AUTHENTICATE" | b"ID" | b"STARTTLS" | b"NOOP")
        ),
        _ => false,
    };
    let server = first
        && (matches!(word, b"+OK" | b"220")
            || line.starts_with(b"220-")
            || (word == b"*" && matches!(next, Some(b"OK" | b"PREAUTH"))));
    let client = match (client, server) {
        (true, _) => at,
        (_, true) => at.opposite(),
        _ => return None,
    };
    Some(Box::new(Lanes::new(client, Mail::default())))
}

/// RFC 9051, section 9.
const fn is_tag(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

#[derive(Debug, Default)]
struct Mail {
    /// Words of the client's line before this one, and the first two.
    words: usize,
    first: [Vec<u8>; 2],
    /// From here on the line is a secret.
    secret: bool,
    /// A literal is taken, or is what comes next, then the line goes on (RFC 9051, section 4.3).
    literal: bool,
    /// The client's lines answer challenges.
    challenged: bool,
    /// They are a message.
    message: bool,
}

impl Layout for Mail {
    fn begin(&mut self, client: bool) -> Take {
        if !client {
            return Take::Until { ends: b"\n", limit: LINE, hide: Hide::Nothing };
        }
        (self.words, self.secret) = (0, false);
        self.word()
    }

    fn next(&mut self, client: bool, taken: &Taken<'_>) -> Take {
        if !client {
            self.answered(taken.seen);
            return self.begin(false);
        }
        if std::mem::take(&mut self.literal) {
            return self.word();
        }
        if self.message {
            self.message = !matches!(taken.seen, b".\r\n" | b".\n");
            return self.begin(true);
        }
        let word = taken.seen.to_ascii_uppercase();
        let word = word.trim_ascii_end();
        self.take(word);
        if taken.end == Some(b' ') {
            return self.word();
        }
        self.end(word)
    }

    /// What the server said tells more of the next line than was known when the last one ended.
    fn renew(&self, client: bool) -> Option<Take> {
        (client && self.words == 0 && !self.literal).then(|| self.word())
    }

    fn resumes(&mut self, _: bool, _: &[u8]) -> bool {
        (self.challenged, self.message, self.literal) = (false, false, false);
        true
    }
}

impl Mail {
    fn word(&self) -> Take {
        let hide = match (self.secret || self.challenged, self.names_mechanism()) {
            (true, _) => Hide::All,
            (_, true) => Hide::Unless(&MECHANISMS),
            _ => Hide::Nothing,
        };
        // A message is looked at by lines.
        let ends: &[u8] = if self.message || self.challenged { b"\n" } else { b" \n" };
        Take::Until { ends, limit: LINE, hide }
    }

    /// The next word of the client's line.
    fn take(&mut self, word: &[u8]) {
        if let Some(place) = self.first.get_mut(self.words) {
            *place = word.to_vec();
        }
        self.words += 1;
        let [first, second] = &self.first;
        let command = if self.words > 1 { second.as_slice() } else { &[] };
        self.secret |= match (first.as_slice(), command) {
            // RFC 4954, section 4.
            (b"AUTH", _) => self.words > 1,
            (b"PASS" | b"APOP", _) | (_, b"LOGIN") => true,
            // RFC 9051, section 6.2.2.
            (_, b"AUTHENTICATE") => self.words > 2,
            _ => false,
        };
    }

    /// Whether the next word does.
    fn names_mechanism(&self) -> bool {
        let [first, second] = &self.first;
        (self.words == 1 && first == b"AUTH") || (self.words == 2 && second == b"AUTHENTICATE")
    }

    /// The line ended behind this word.
    fn end(&mut self, last: &[u8]) -> Take {
        if let Some(length) = literal(last) {
            self.literal = true;
            return if self.secret { Take::Hide(length) } else { Take::Keep(length) };
        }
        let [first, second] = &self.first;
        let asks = first == b"AUTH" || (self.words > 1 && second == b"AUTHENTICATE");
        self.challenged |= asks;
        // RFC 3030, section 2.
        if first == b"BDAT" && self.words > 1 {
            let length = str::from_utf8(second).ok().and_then(|length| length.parse().ok());
            self.literal = true;
            (self.words, self.secret) = (0, false);
            return Take::Keep(length.unwrap_or(0));
        }
        self.begin(true)
    }

    /// A line of the server.
    fn answered(&mut self, line: &[u8]) {
        match line {
            [b'3', b'3', b'4', ..] => {}
            [b'+', b'O' | b'o', ..] => self.challenged = false,
            // IMAP asks for more, or says something else in between.
            [b'+' | b'*', ..] => {}
            [b'3', b'5', b'4', ..] => self.message = true,
            _ => (self.challenged, self.message) = (false, false),
        }
    }
}

/// `{length}` or `{length+}` (RFC 7888).
fn literal(word: &[u8]) -> Option<u64> {
    let digits =
        word.get(word.iter().rposition(|byte| *byte == b'{')? + 1..)?.strip_suffix(b"}")?;
    let digits = digits.strip_suffix(b"+").unwrap_or(digits);
    str::from_utf8(digits).ok()?.parse().ok()
}
