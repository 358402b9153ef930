//! The families of TLS libraries that are probed: a file each, and one table.
//!
//! A family is recognised by the functions that a file defines, never by the file's name. Its file
//! says which functions carry plaintext, how their arguments lie, which of them call each other,
//! and what its version looks like.

mod exports;
mod gnutls;
mod go;
mod mbedtls;
mod nss;
mod openssl;
mod rustls;
mod s2n;
mod wolfssl;

use std::sync::LazyLock;

use super::{
    Probe,
    elf::Elf,
    marks::{self, Mark},
    source::Source,
    symbols::Vocabulary,
};

pub(super) use go::refusal as go_refusal;
pub(super) use openssl::ciphertext;
#[cfg(test)]
pub(super) use openssl::reads;
pub(super) use rustls::has_symbols as has_symbols_of_rustls;

/// A kind of TLS library.
pub(crate) struct Family {
    /// What it is called in output.
    pub(crate) name: &'static str,
    /// How the names of its shared libraries begin: these are probed before a process maps them.
    pub(crate) libraries: &'static [&'static str],
    /// How the names begin of those that carry the version for them and lie beside them, if it is
    /// not in the same file.
    pub(crate) companion: Option<&'static str>,
    /// The probes in a file, in the order in which they are attached: what moves bytes first.
    /// Empty when the file does not contain a library of this kind, or not enough of it.
    pub(crate) probes: fn(&Elf<'_>) -> Vec<Probe>,
    /// The names of the functions that are looked for, so that a file's symbols are gone through once
    /// for all families.
    pub(crate) names: fn() -> Vec<&'static str>,
    /// The name, which can be that of a fork, and the version that a file tells.
    pub(crate) version: fn(&Elf<'_>) -> Option<Version>,
}

/// The name of a library and its version.
pub type Version = (&'static str, String);

/// Those that are known by names; of those that a file contains, the first is probed. Go first: it has a table
/// of its own, and the others would read all symbols of a large program.
pub(crate) const FAMILIES: [&Family; 7] = [
    &go::FAMILY,
    &openssl::FAMILY,
    &gnutls::FAMILY,
    &mbedtls::FAMILY,
    &wolfssl::FAMILY,
    &nss::FAMILY,
    &s2n::FAMILY,
];

/// All names of functions that are looked for in a file.
pub(super) static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let names = FAMILIES.into_iter().flat_map(|family| (family.names)());
    Vocabulary::new(names.chain(marks::functions()), &openssl::ENDINGS)
});

/// The family of this name.
pub(super) fn named(name: &str) -> Option<&'static Family> {
    FAMILIES.into_iter().chain([&rustls::FAMILY]).find(|family| family.name == name)
}

/// The family that a file contains, and the probes.
pub(super) fn find(elf: &Elf<'_>) -> Option<(&'static Family, Vec<Probe>)> {
    FAMILIES
        .into_iter()
        .map(|family| (family, (family.probes)(elf)))
        .find(|(_, probes)| !probes.is_empty())
}

/// The name of a library, and its probes, in a file that has marks of families, and none of the names that
/// these would be known by. All code is searched for one of them, so each is looked for once.
pub(super) fn find_marked(
    marks: &[Mark],
    elf: &Elf<'_>,
    source: &Source,
) -> Option<(&'static str, Vec<Probe>)> {
    let has = |family: &str| marks.iter().any(|(mark, _)| *mark == family);
    if has("openssl") || has("boringssl") {
        let found = openssl::fingerprints(elf, source);
        if found.is_some() {
            return found;
        }
    }
    let probes = if has("rustls") { (rustls::FAMILY.probes)(elf) } else { Vec::new() };
    (!probes.is_empty()).then_some((rustls::FAMILY.name, probes))
}

/// The version number that follows one of these texts in a file.
fn number_after(elf: &Elf<'_>, texts: &[&[u8]]) -> Option<String> {
    let longest = texts.iter().map(|text| text.len()).max()?;
    elf.search(b".rodata", longest + MAX_NUMBER, |strings| {
        texts.iter().find_map(|text| {
            memchr::memmem::find_iter(strings, text)
                .find_map(|at| number(strings.get(at + text.len()..)?))
        })
    })
}

/// Most bytes of a version number, with its end.
const MAX_NUMBER: usize = 32;

/// A version number at the start of `text`: at least `1.2`, ended by a space, a parenthesis or NUL.
fn number(text: &[u8]) -> Option<String> {
    let end = text.iter().take(MAX_NUMBER).position(|byte| matches!(byte, b' ' | b')' | 0))?;
    let word = std::str::from_utf8(text.get(..end)?).ok()?;
    let plausible = word.starts_with(|c: char| c.is_ascii_digit())
        && word.contains('.')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'));
    plausible.then(|| word.to_owned())
}
