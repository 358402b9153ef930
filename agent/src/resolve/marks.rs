//! TLS code that is not probed, recognised by marks it cannot run without, so that `list` can
//! name it and say why.

use memchr::memmem::Finder;

use super::{Reason, Resolution, elf::Elf, source::Source};

/// A function that only the named library defines.
const FUNCTIONS: [(&str, &str, Reason); 5] = [
    ("SSL_ImportFD", "nss", Reason::UnsupportedLibrary),
    ("wolfSSL_write", "wolfssl", Reason::UnsupportedLibrary),
    ("mbedtls_ssl_write", "mbedtls", Reason::UnsupportedLibrary),
    ("s2n_send", "s2n", Reason::UnsupportedLibrary),
    ("JNI_CreateJavaVM", "jsse", Reason::Java),
];

/// A string in `.rodata` that stands only in the named library's code.
const STRINGS: [(&[u8], &str, Reason); 5] = [
    (b"ssl/ssl_lib.c\0", "openssl", Reason::Stripped),
    (b"ssl/ssl_lib.cc\0", "boringssl", Reason::Stripped),
    (b"ssl\\ssl_lib.c\0", "openssl", Reason::Stripped),
    (b"TLS 1.3, server CertificateVerify", "rustls", Reason::UnsupportedLibrary),
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

/// Go's own TLS: the type and function names of crypto/tls survive stripping.
fn go(elf: &Elf<'_>) -> Option<(&'static str, Reason)> {
    const NAME: &[u8] = b"crypto/tls.(*Conn).Write\0";
    let found = [&b".gopclntab"[..], b".data.rel.ro.gopclntab"].into_iter().find_map(|section| {
        elf.search(section, NAME.len(), |names| contains(names, NAME).then_some(()))
    });
    found.map(|()| ("go", Reason::UnsupportedLibrary))
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
    Some((mark.1, mark.2))
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
