//! The families of TLS libraries that are probed: a file each, and one table.
//!
//! A family is recognised by the functions that a file defines, never by the file's name. Its file
//! says which functions carry plaintext, how their arguments lie, which of them call each other,
//! and what its version looks like.

mod exports;
mod gnutls;
mod openssl;

use super::{Probe, elf::Elf};

#[cfg(test)]
pub(super) use openssl::reads;
pub(super) use openssl::{ciphertext, fingerprints};

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
    /// The name, which can be that of a fork, and the version that a file tells.
    pub(crate) version: fn(&Elf<'_>) -> Option<Version>,
}

/// The name of a library and its version.
pub type Version = (&'static str, String);

/// All families; of those that a file contains, the first is probed.
pub(crate) const FAMILIES: [&Family; 2] = [&openssl::FAMILY, &gnutls::FAMILY];

/// The family of this name.
pub(super) fn named(name: &str) -> Option<&'static Family> {
    FAMILIES.into_iter().find(|family| family.name == name)
}

/// The family that a file contains, and the probes.
pub(super) fn find(elf: &Elf<'_>) -> Option<(&'static Family, Vec<Probe>)> {
    FAMILIES
        .into_iter()
        .map(|family| (family, (family.probes)(elf)))
        .find(|(_, probes)| !probes.is_empty())
}

/// A version number at the start of `text`: at least `1.2`, ended by a space, a parenthesis or NUL.
fn number(text: &[u8]) -> Option<String> {
    let end = text.iter().take(32).position(|byte| matches!(byte, b' ' | b')' | 0))?;
    let word = std::str::from_utf8(text.get(..end)?).ok()?;
    let plausible = word.starts_with(|c: char| c.is_ascii_digit())
        && word.contains('.')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'));
    plausible.then(|| word.to_owned())
}
