//! Bytes from outside in, text that is safe for a terminal out.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

/// Shows bytes such that no control character, no invisible or reordering one, and nothing that is
/// not UTF-8 gets through; what is left out is shown as an escape, and a backslash as two.
#[derive(Clone, Copy, Debug)]
pub(super) struct Escaped<'a>(pub(super) &'a [u8]);

impl<'a> Escaped<'a> {
    /// The same as a string.
    pub(super) fn text(self) -> Cow<'a, str> {
        plain(self.0).map_or_else(|| self.to_string().into(), Cow::Borrowed)
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = plain(self.0) {
            return f.write_str(text);
        }
        for chunk in self.0.utf8_chunks() {
            printable(chunk.valid(), f)?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// What most bytes are: ASCII of which nothing is an escape.
fn plain(bytes: &[u8]) -> Option<&str> {
    let is_plain = |byte: &u8| (b' '..=b'~').contains(byte) && *byte != b'\\';
    bytes.iter().all(is_plain).then(|| std::str::from_utf8(bytes).ok()).flatten()
}

/// The standard library knows what Unicode calls printable, but escapes quotes as well.
fn printable(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for piece in text.split_inclusive(['"', '\'']) {
        let bare = piece.trim_end_matches(['"', '\'']);
        write!(f, "{}", bare.escape_debug())?;
        f.write_str(piece.get(bare.len()..).unwrap_or_default())?;
    }
    Ok(())
}

/// Whether a terminal may do something else with a character than show it.
pub(super) fn is_unsafe(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // Alone, a combining mark is escaped too; behind a letter it is text.
    c.escape_debug().next() == Some('\\')
        && String::from_iter(['a', c]).escape_debug().nth(1) == Some('\\')
}

/// Writes a character as a JSON escape, or two.
pub(super) fn json_escape(c: char) -> String {
    let mut units = [0; 2];
    c.encode_utf16(&mut units).iter().fold(String::new(), |mut escaped, unit| {
        // Writing to a string cannot fail.
        let _ = write!(escaped, "\\u{unit:04x}");
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: impl AsRef<[u8]>, expect: &str) {
        assert_eq!(Escaped(bytes.as_ref()).to_string(), expect);
        assert_eq!(Escaped(bytes.as_ref()).text(), expect);
    }

    #[test]
    fn text_stays_as_it_is() {
        check("GET /a?b=\"c\"&d='e' 100% {x}", "GET /a?b=\"c\"&d='e' 100% {x}");
        check("Grüße, мир, 世界, नमस्ते 🙂", "Grüße, мир, 世界, नमस्ते 🙂");
        check("''\"\"'", "''\"\"'");
    }

    #[test]
    fn a_backslash_is_told_from_an_escape() {
        check("\\n", "\\\\n");
        check("\n", "\\n");
    }

    #[test]
    fn control_characters_are_shown() {
        check("a\r\n\tb\0", "a\\r\\n\\tb\\0");
        check("\x1b[31mred\x1b]0;title\x07", "\\u{1b}[31mred\\u{1b}]0;title\\u{7}");
        check("\x7f\u{80}\u{9b}31m", "\\u{7f}\\u{80}\\u{9b}31m");
    }

    #[test]
    fn characters_that_hide_or_reorder_are_shown() {
        for c in ['\u{61c}', '\u{200b}', '\u{200d}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}']
            .into_iter()
            .chain('\u{202a}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}')
            .chain(['\u{feff}', '\u{fff9}', '\u{e0001}', '\u{f0000}'])
        {
            check(c.to_string(), &format!("\\u{{{:x}}}", u32::from(c)));
            assert!(is_unsafe(c), "{c:?}");
        }
        assert!(!"a\"'\\é世\u{301}\u{94d}🙂".chars().any(is_unsafe));
    }

    #[test]
    fn bytes_that_are_no_text_are_shown() {
        check(b"a\xff\xfeb", "a\\xff\\xfeb");
        check(b"\xc3", "\\xc3");
        check(b"\xe2\x80", "\\xe2\\x80");
        // An overlong ESC, and half of a surrogate pair.
        check(b"\xc0\x9b\xed\xa0\x80", "\\xc0\\x9b\\xed\\xa0\\x80");
    }

    #[test]
    fn no_byte_sequence_gets_a_control_through() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let shown = Escaped(&[first, second, b'[', first]).to_string();
                assert!(!shown.chars().any(char::is_control), "{first:x} {second:x}: {shown:?}");
            }
        }
    }

    #[test]
    fn json_escapes_are_utf_16() {
        assert_eq!(json_escape('\u{9b}'), "\\u009b");
        assert_eq!(json_escape('\u{e0001}'), "\\udb40\\udc01");
    }
}
