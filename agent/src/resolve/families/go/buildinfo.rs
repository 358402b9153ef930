//! The version of Go that a program was made with, from what `go version` reads (src/debug/buildinfo).

use crate::resolve::elf::Elf;

const MAGIC: &[u8] = b"\xff Go buildinf:";

/// What follows the magic: the size of a pointer, and flags.
const POINTER: u8 = 8;
/// The strings follow the header (Go 1.18); before, pointers to them are in it.
const INLINE: u8 = 2;

/// Where the version stands, or the pointer to it.
const INLINE_VERSION: usize = 32;
const VERSION_POINTER: usize = 16;

/// Longest version that is believed: `devel go1.20-abcdef Thu Jan 1 00:00:00 1970 +0000 X:…`.
const LONGEST: usize = 128;

/// `go1.19.8`, from the section of build information.
pub(super) fn version(section: &[u8], elf: &Elf<'_>) -> Option<String> {
    let header = section.strip_prefix(MAGIC)?;
    let text = match *header.first_chunk()? {
        [_, flags] if flags & INLINE != 0 => inline(section.get(INLINE_VERSION..)?)?,
        [POINTER, 0] => {
            let at = section.get(VERSION_POINTER..)?.first_chunk()?;
            elf.go_string(u64::from_le_bytes(*at), LONGEST)?
        }
        _ => return None,
    };
    word(text)
}

/// A string behind its length, of which the versions there are take one byte.
fn inline(bytes: &[u8]) -> Option<&[u8]> {
    let (&length, rest) = bytes.split_first()?;
    (length < 0x80).then(|| rest.get(..usize::from(length)))?
}

/// The word of a version that says which it is.
fn word(version: &[u8]) -> Option<String> {
    let version = std::str::from_utf8(version).ok()?;
    let plausible = |word: &&str| {
        word.starts_with("go1.")
            && word.len() <= 32
            && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '_'))
    };
    version.split(' ').find(plausible).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::word;

    #[test]
    fn versions() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(word(text.as_bytes()).as_deref(), expect, "{text}");
        };
        check("go1.19.8", Some("go1.19.8"));
        check("go1.22rc1 X:boringcrypto", Some("go1.22rc1"));
        check("devel go1.23-6d89b38 Thu Jan 1 00:00:00 2026 +0000", Some("go1.23-6d89b38"));
        check("gone", None);
        check("go1.\x1b[2J", None);
        check("", None);
    }
}
