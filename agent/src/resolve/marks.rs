//! TLS code that is not probed, recognised by marks it cannot run without, so that `list` can
//! name it and say why.

use std::fs::File;

use object::read::{ReadCache, ReadRef};

use super::{Reason, Resolution, elf::Elf, families};

/// A function that only the named library defines.
const FUNCTIONS: [(&[u8], &str, Reason); 2] = [
    (b"SSL_ImportFD", "nss", Reason::UnsupportedLibrary),
    (b"JNI_CreateJavaVM", "jsse", Reason::Java),
];

/// A string in `.rodata` that stands only in the named library's code.
const STRINGS: [(&[u8], &str, Reason); 5] = [
    (b"ssl/ssl_lib.c\0", "openssl", Reason::Stripped),
    (b"ssl/ssl_lib.cc\0", "boringssl", Reason::Stripped),
    (b"ssl\\ssl_lib.c\0", "openssl", Reason::Stripped),
    (b"TLS 1.3, server CertificateVerify", "rustls", Reason::Stripped),
    (b"erts_internal", "erlang", Reason::Erlang),
];

/// What a file without probe points is.
pub(crate) fn recognise(elf: &Elf<'_>) -> Resolution {
    let by_function = elf.functions().find_map(|symbol| {
        FUNCTIONS.iter().find(|(name, ..)| *name == symbol.name).map(|(_, name, why)| (*name, *why))
    });
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
    let strings = elf.section(b".rodata")?;
    let (_, name, reason) = STRINGS.iter().find(|(text, ..)| contains(strings, text))?;
    // With its symbols it is one that is not known.
    let symbols =
        *name == "rustls" && elf.functions().any(|symbol| contains(symbol.name, b"rustls"));
    Some((name, if symbols { Reason::UnsupportedLibrary } else { *reason }))
}

/// ELF for another architecture: TLS code if it says so in its first megabytes.
pub(crate) fn foreign(cache: &ReadCache<File>) -> Resolution {
    const LOOK: u64 = 8 << 20;
    let len = cache.len().unwrap_or(0).min(LOOK);
    let bytes = cache.read_bytes_at(0, len).unwrap_or(&[]);
    if contains(bytes, b"\0SSL_write\0") && contains(bytes, b"\0SSL_CTX_new\0") {
        Resolution::Skipped { name: Some("openssl"), reason: Reason::Architecture }
    } else {
        Resolution::Unrelated
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(haystack, needle).is_some()
}
