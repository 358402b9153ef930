//! TLS code that is not probed, recognised by marks it cannot run without, so that `list` can
//! name it and say why.

use memchr::memmem::Finder;

use super::{Reason, Resolution, elf::Elf, families, source::Source};

/// A function that only the named library defines.
const FUNCTIONS: [(&str, &str, Reason); 2] = [
    ("SSL_ImportFD", "nss", Reason::UnsupportedLibrary),
    ("JNI_CreateJavaVM", "jsse", Reason::Java),
];

/// A string in `.rodata` that stands only in the named library's code.
const STRINGS: [(&[u8], &str, Reason); 5] = [
    (b"ssl/ssl_lib.c\0", "openssl", Reason::Stripped),
    (b"ssl/ssl_lib.cc\0", "boringssl", Reason::Stripped),
    (b"ssl\\ssl_lib.c\0", "openssl", Reason::Stripped),
    (b"TLS 1.3, server CertificateVerify", "rustls", Reason::Stripped),
    (b"erts_internal", "erlang", Reason::Erlang),
];

/// The names of the functions that are looked for.
pub(super) fn functions() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|(name, ..)| *name)
}

/// A library whose mark a file has, and why it is not probed if nothing else is found.
pub(super) type Mark = (&'static str, Reason);

/// The marks that a file has in which no library's functions have their names, the most telling first.
pub(super) fn recognise(elf: &Elf<'_>) -> Vec<Mark> {
    let defined = |(function, ..): &&(&str, _, _)| elf.symbols().named(function).is_some();
    let by_function = FUNCTIONS.iter().find(defined).map(|(_, name, why)| (*name, *why));
    match by_function.or_else(|| go(elf)) {
        Some(mark) => vec![mark],
        None => by_string(elf),
    }
}

fn go(elf: &Elf<'_>) -> Option<Mark> {
    families::go_refusal(elf).map(|reason| ("go", reason))
}

fn by_string(elf: &Elf<'_>) -> Vec<Mark> {
    let searchers = STRINGS.map(|(text, ..)| Finder::new(text));
    let longest = STRINGS.iter().map(|(text, ..)| text.len()).max().unwrap_or_default();
    let mut found = [false; STRINGS.len()];
    elf.search(b".rodata", longest, |strings| {
        for (found, searcher) in found.iter_mut().zip(&searchers) {
            *found = *found || searcher.find(strings).is_some();
        }
        None::<()>
    });
    let found = found.iter().zip(STRINGS).filter(|(found, _)| **found);
    found.map(|(_, (_, name, reason))| (name, reason)).collect()
}

/// What a file is that has this mark, and nothing that is probed. With its symbols, rustls is one
/// whose version is not known.
pub(super) fn skipped(elf: &Elf<'_>, (name, reason): Mark) -> Resolution {
    let known = name != "rustls" || !families::has_symbols_of_rustls(elf);
    let reason = if known { reason } else { Reason::UnsupportedLibrary };
    Resolution::Skipped { name: Some(name), reason }
}

/// ELF for another architecture: TLS code if it says so in its first megabytes.
pub(crate) fn foreign(source: &Source) -> Resolution {
    const LOOK: u64 = 8 << 20;
    const NAMES: [&[u8]; 2] = [b"\0SSL_write\0", b"\0SSL_CTX_new\0"];
    let mut found = [false; NAMES.len()];
    let all = source.windows(0..source.len().min(LOOK), 16, |_, bytes| {
        for (found, name) in found.iter_mut().zip(NAMES) {
            *found = *found || contains(bytes, name);
        }
        (found == [true; NAMES.len()]).then_some(())
    });
    match all {
        Ok(Some(())) => Resolution::Skipped { name: Some("openssl"), reason: Reason::Architecture },
        _ => Resolution::Unrelated,
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}
