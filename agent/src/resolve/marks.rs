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

/// What a file without probe points is.
pub(crate) fn recognise(elf: &Elf<'_>) -> Resolution {
    let defined = |(function, ..): &&(&str, _, _)| elf.symbols().named(function).is_some();
    let by_function = FUNCTIONS.iter().find(defined).map(|(_, name, why)| (*name, *why));
    let found = by_function.or_else(|| go(elf)).or_else(|| by_string(elf));
    match found {
        Some((name, reason)) => Resolution::Skipped { name: Some(name), reason },
        None => Resolution::Unrelated,
    }
}

fn go(elf: &Elf<'_>) -> Option<(&'static str, Reason)> {
    families::go_refusal(elf).map(|reason| ("go", reason))
}

fn by_string(elf: &Elf<'_>) -> Option<(&'static str, Reason)> {
    let searchers = STRINGS.map(|(text, ..)| Finder::new(text));
    let longest = STRINGS.iter().map(|(text, ..)| text.len()).max()?;
    let mut found = [false; STRINGS.len()];
    elf.search(b".rodata", longest, |strings| {
        for (found, searcher) in found.iter_mut().zip(&searchers) {
            *found = *found || searcher.find(strings).is_some();
        }
        None::<()>
    });
    let (_, mark) = found.iter().zip(STRINGS).find(|(found, _)| **found)?;
    let (_, name, reason) = mark;
    // With its symbols it is one that is not known.
    let known = name != "rustls" || !families::has_symbols_of_rustls(elf);
    Some((name, if known { reason } else { Reason::UnsupportedLibrary }))
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
