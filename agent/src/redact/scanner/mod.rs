//! Bytes in, the places of secrets in them out: values behind names, in header lines, queries,
//! forms, JSON, and parts of multipart forms. Each byte is looked at once, whatever comes, and what
//! is begun at the end of the bytes goes on in the next ones.

mod found;
mod places;
#[cfg(test)]
mod tests;

use std::ops::Range;

use memchr::{memchr, memchr3};

use self::found::Found;
use super::{
    names::{self, Kind},
    word::Word,
};

/// Where the scan is.
#[derive(Clone, Debug, Default)]
pub(super) struct Scanner {
    /// Only `&` ends a value: an `application/x-www-form-urlencoded` body.
    form: bool,
    word: Word,
    /// Something stands behind the word: a quote, or blanks.
    quoted: bool,
    spaced: bool,
    /// The word before was IDENTIFIED (MySQL).
    identified: bool,
    /// In the line that begins a part of a multipart form; its `name="` is open; it named a
    /// secret.
    disposition: bool,
    naming: bool,
    part: bool,
    /// Line feeds in a row, without carriage returns.
    lines: u8,
    /// How much of `://` was seen.
    authority: u8,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, Default)]
enum Mode {
    #[default]
    Text,
    /// Between a name and its value; backslashes so far.
    Before {
        kind: Kind,
        ends: Ends,
        slashes: u32,
    },
    /// Up to what ends it.
    Bare(Ends),
    /// Up to a quote behind as many backslashes as were before the first one (JSON in JSON).
    Quoted {
        quote: u8,
        slashes: u32,
        run: u32,
    },
    /// The array or object that is the value of a secret's name.
    Nested {
        depth: u32,
        string: bool,
        escaped: bool,
    },
    CookieName {
        set: bool,
    },
    CookieValue {
        set: bool,
    },
    /// The part of a multipart form; how much of the line feed and two dashes was seen.
    Part {
        seen: u8,
    },
}

/// What ends a value that is not quoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Parameter,
    Json,
    Line,
}

impl Ends {
    const fn at(self, byte: u8, form: bool) -> bool {
        match self {
            Self::Parameter if form => byte == b'&',
            Self::Parameter => matches!(byte, b'&' | b'"' | b'<' | b'>' | b'#' | 0..=b' '),
            Self::Json => matches!(byte, b',' | b'}' | b']' | 0..=b' '),
            Self::Line => matches!(byte, b'\r' | b'\n' | 0),
        }
    }
}

impl Scanner {
    /// For the body of a form, or for anything else.
    pub(super) fn new(form: bool) -> Self {
        Self { form, ..Self::default() }
    }

    /// For the value of a header field with cookies.
    pub(super) fn cookies(kind: Kind) -> Self {
        Self { mode: Mode::CookieName { set: kind == Kind::SetCookie }, ..Self::default() }
    }

    /// The places of secrets in bytes that nothing follows.
    pub(super) fn whole(form: bool, bytes: &[u8]) -> Vec<Range<usize>> {
        // Each of them is behind one of these.
        let any = memchr3(b':', b'=', b'\'', bytes).or_else(|| memchr(b'"', bytes));
        if any.is_some() { Self::new(form).scan(bytes) } else { Vec::new() }
    }

    /// The places of secrets in the next bytes, in order.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Vec<Range<usize>> {
        let mut found = Found::default();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let rest = bytes.get(at..).unwrap_or_default();
            at += self.step(byte, at, rest, &mut found).max(1);
        }
        found.0
    }

    /// Takes a byte; gives how many more bytes it took, this one included, or 0.
    fn step(&mut self, byte: u8, at: usize, rest: &[u8], found: &mut Found) -> usize {
        match self.mode {
            Mode::Text => return self.text(byte, at, rest, found),
            Mode::Before { kind, ends, slashes } => {
                return self.before(kind, ends, slashes, byte, at, rest, found);
            }
            Mode::Bare(ends) if ends.at(byte, self.form) => {
                return self.leave(byte, at, rest, found);
            }
            Mode::Bare(_) => found.add(at),
            Mode::Quoted { quote, slashes, run } => {
                self.quoted(byte, quote, slashes, run, at, found)
            }
            Mode::Nested { depth, string, escaped } => {
                self.nested(byte, depth, string, escaped, at, found);
            }
            Mode::CookieName { set } | Mode::CookieValue { set } => {
                return self.cookie(byte, set, at, rest, found);
            }
            Mode::Part { seen } => self.part(byte, seen, at, found),
        }
        0
    }

    /// The value ended before this byte.
    fn leave(&mut self, byte: u8, at: usize, rest: &[u8], found: &mut Found) -> usize {
        self.mode = Mode::Text;
        self.forget();
        self.text(byte, at, rest, found)
    }

    fn forget(&mut self) {
        self.word.clear();
        (self.quoted, self.spaced) = (false, false);
    }

    fn text(&mut self, byte: u8, at: usize, rest: &[u8], found: &mut Found) -> usize {
        let lines = std::mem::take(&mut self.lines);
        let authority = std::mem::take(&mut self.authority);
        if authority == 3 {
            let taken = self.userinfo(at, rest, found);
            if taken > 0 {
                return taken;
            }
        }
        match byte {
            _ if is_letter(byte) => return self.letters(rest),
            b':' | b'=' => {
                self.delimiter(byte);
                self.authority = u8::from(byte == b':');
            }
            b'"' if self.naming => {
                if !self.word.is_empty() {
                    let named = names::kind(self.word.as_bytes(), true).is_some();
                    (self.naming, self.part) = (false, named);
                    self.forget();
                }
            }
            b'\'' | b'"' if self.spaced && !self.quoted && self.sql() => {
                self.mode = Mode::Quoted { quote: byte, slashes: 0, run: 0 };
            }
            b'"' | b'\'' | b'\\' => self.quoted = !self.word.is_empty(),
            b' ' | b'\t' => self.spaced = !self.word.is_empty(),
            b'\r' => self.lines = lines,
            b';' => {
                self.disposition |= self.word.as_bytes() == b"formdata";
                self.forget();
            }
            b'\n' => {
                (self.disposition, self.naming) = (false, false);
                self.lines = lines.saturating_add(1);
                // JSON may have line feeds between a name and the colon.
                if self.quoted {
                    self.spaced = true
                } else {
                    self.forget()
                }
                if self.lines >= 2 && std::mem::take(&mut self.part) {
                    self.mode = Mode::Part { seen: 0 };
                }
            }
            b'/' => {
                self.authority = if authority > 0 { authority + 1 } else { 0 };
                self.forget();
            }
            _ => self.forget(),
        }
        0
    }

    /// Letters in a row. They are kept only if what is behind them can make them a name.
    fn letters(&mut self, rest: &[u8]) -> usize {
        if self.quoted || self.spaced {
            self.identified = self.word.as_bytes() == b"identified";
            self.forget();
        } else if self.word.is_empty() {
            self.identified = false;
        }
        let length = rest.iter().position(|&byte| !is_letter(byte)).unwrap_or(rest.len());
        let (letters, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        if self.naming || counts(letters, behind) {
            letters.iter().for_each(|&byte| self.word.push(byte));
        } else {
            self.word.clear();
        }
        length
    }

    /// PASSWORD 'x' and IDENTIFIED BY 'x' of SQL.
    fn sql(&self) -> bool {
        match self.word.as_bytes() {
            b"password" => true,
            b"by" => self.identified,
            _ => false,
        }
    }

    fn delimiter(&mut self, byte: u8) {
        let parameter = byte == b'=';
        let ends = match (parameter, self.quoted) {
            (true, _) => Ends::Parameter,
            (false, true) => Ends::Json,
            (false, false) => Ends::Line,
        };
        self.naming = parameter && self.disposition && self.word.as_bytes() == b"name";
        if let Some(kind) = names::kind(self.word.as_bytes(), parameter) {
            self.mode = Mode::Before { kind, ends, slashes: 0 };
        }
        self.forget();
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of one variant, and those of a step")]
    fn before(
        &mut self,
        kind: Kind,
        ends: Ends,
        slashes: u32,
        byte: u8,
        at: usize,
        rest: &[u8],
        found: &mut Found,
    ) -> usize {
        if self.form {
            self.mode = Mode::Bare(ends);
            return self.step(byte, at, rest, found);
        }
        match byte {
            b' ' | b'\t' => {}
            b'\r' | b'\n' if ends == Ends::Json => {}
            b'\\' if ends != Ends::Line => {
                let slashes = slashes.saturating_add(1);
                self.mode = Mode::Before { kind, ends, slashes };
            }
            b'"' | b'\'' => {
                self.mode = Mode::Quoted { quote: byte, slashes: slashes.min(1 << 20), run: 0 };
                if kind == Kind::Credentials {
                    return 1 + names::scheme(rest.get(1..).unwrap_or_default());
                }
            }
            b'[' | b'{' if ends == Ends::Json => {
                self.mode = Mode::Nested { depth: 1, string: false, escaped: false };
            }
            _ => return self.value(kind, ends, byte, at, rest, found),
        }
        0
    }

    fn value(
        &mut self,
        kind: Kind,
        ends: Ends,
        byte: u8,
        at: usize,
        rest: &[u8],
        found: &mut Found,
    ) -> usize {
        match kind {
            Kind::Cookies => self.mode = Mode::CookieName { set: false },
            Kind::SetCookie => self.mode = Mode::CookieName { set: true },
            Kind::Credentials | Kind::Value => self.mode = Mode::Bare(ends),
        }
        let scheme = if kind == Kind::Credentials { names::scheme(rest) } else { 0 };
        if scheme > 0 { scheme } else { self.step(byte, at, rest, found) }
    }

    fn quoted(
        &mut self,
        byte: u8,
        quote: u8,
        slashes: u32,
        run: u32,
        at: usize,
        found: &mut Found,
    ) {
        // A quote within is behind twice as many backslashes and one more.
        let closing = byte == quote && run % (2 * (slashes + 1)) == slashes;
        if closing || byte == 0 {
            self.mode = Mode::Text;
            self.forget();
            found.give_back(slashes as usize, at);
            return;
        }
        let run = if byte == b'\\' { run.saturating_add(1) } else { 0 };
        self.mode = Mode::Quoted { quote, slashes, run };
        found.add(at);
    }

    fn nested(
        &mut self,
        byte: u8,
        depth: u32,
        string: bool,
        escaped: bool,
        at: usize,
        found: &mut Found,
    ) {
        let (mut depth, mut string) = (depth, string);
        let slash = string && !escaped && byte == b'\\';
        match byte {
            b'"' if !escaped => string = !string,
            _ if string => found.add(at),
            b'[' | b'{' => depth = depth.saturating_add(1),
            b']' | b'}' => depth -= 1,
            b',' | b':' | 0..=b' ' => {}
            _ => found.add(at),
        }
        self.mode = if depth == 0 {
            self.forget();
            Mode::Text
        } else {
            Mode::Nested { depth, string, escaped: slash }
        };
    }
}

/// What is in names; all else ends them.
const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'%' | b'[' | b']')
}

/// Whether letters before these bytes can be a name, or one that goes on in the next bytes.
const fn counts(letters: &[u8], behind: &[u8]) -> bool {
    match behind {
        // IDENTIFIED is the only one that matters before another word.
        [b' ' | b'\t', next, ..] if is_letter(*next) => matches!(letters, [.., b'd' | b'D']),
        [b'"' | b'\'', next, ..] => {
            matches!(next, b':' | b'=' | b'"' | b'\'' | b'\\' | b'\t'..=b'\r' | b' ')
        }
        [] | [b':' | b'=' | b';' | b'"' | b'\'' | b'\\' | b'\r' | b' ' | b'\t', ..] => true,
        _ => false,
    }
}
