//! The OpenSSL family: OpenSSL, LibreSSL, BoringSSL and AWS-LC, wherever they are linked.
//!
//! Recognised by the functions that a file defines, not by its name: wheels ship
//! `libssl-8bd944e8.so.3`, Node exports `SSL_*` from its own executable.

use tlstap_ebpf::Function;

use super::{Probe, elf::Elf};

/// Every function that a probe goes on. Each is optional: CPython calls only the `_ex` functions,
/// BoringSSL has none of them.
const FUNCTIONS: [(&str, Function); 5] = [
    ("SSL_write", Function::Write),
    ("SSL_read", Function::Read),
    ("SSL_write_ex", Function::WriteEx),
    ("SSL_read_ex", Function::ReadEx),
    ("SSL_free", Function::Free),
];

/// The probes of the file; empty when it does not contain a library of this family.
pub(crate) fn probes(elf: &Elf<'_>) -> Vec<Probe> {
    let mut probes: Vec<Probe> = Vec::new();
    for symbol in elf.functions() {
        let Some((name, function)) =
            FUNCTIONS.into_iter().find(|(name, _)| name.as_bytes() == symbol.name)
        else {
            continue;
        };
        // A symbol stands in .dynsym and .symtab, or in several versions.
        if probes.iter().any(|probe| probe.function == function) {
            continue;
        }
        if let Some(offset) = elf.code_offset(symbol.address) {
            probes.push(Probe { symbol: name, function, offset, method: symbol.method });
        }
    }
    let carries = |direction| {
        probes.iter().any(|p| p.function != Function::Free && p.function.direction() == direction)
    };
    let complete =
        carries(tlstap_ebpf::direction::TRANSMIT) && carries(tlstap_ebpf::direction::RECEIVE);
    if !complete {
        return Vec::new();
    }
    // In the order of the table: what carries data is attached first.
    let place =
        |probe: &Probe| FUNCTIONS.iter().position(|(_, function)| *function == probe.function);
    probes.sort_by_key(place);
    probes
}

/// The version that the file names, as (library, version).
///
/// libcrypto carries it, and so does a program with the library linked in; libssl does not.
pub(crate) fn version(elf: &Elf<'_>) -> Option<(&'static str, String)> {
    let strings = elf.section(b".rodata")?;
    find_version(strings)
}

/// Finds `OpenSSL 3.0.19 27 Jan 2026` and its like: the product, then a number with dots.
fn find_version(strings: &[u8]) -> Option<(&'static str, String)> {
    const PRODUCTS: [(&str, &str); 2] = [("OpenSSL ", "openssl"), ("LibreSSL ", "libressl")];
    PRODUCTS.into_iter().find_map(|(product, name)| {
        memchr::memmem::find_iter(strings, product)
            .find_map(|at| number(strings.get(at + product.len()..)?))
            .map(|version| (name, version))
    })
}

/// A version number at the start of `text`: at least `1.2`, ended by a space or NUL.
fn number(text: &[u8]) -> Option<String> {
    let end = text.iter().take(32).position(|byte| matches!(byte, b' ' | 0))?;
    let word = std::str::from_utf8(text.get(..end)?).ok()?;
    let plausible = word.starts_with(|c: char| c.is_ascii_digit())
        && word.contains('.')
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+'));
    plausible.then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::find_version;

    fn check(strings: &[u8], expect: Option<(&str, &str)>) {
        let found = find_version(strings);
        assert_eq!(found.as_ref().map(|(name, version)| (*name, version.as_str())), expect);
    }

    #[test]
    fn version_strings() {
        check(b"x\0OpenSSL 3.0.19 27 Jan 2026\0y", Some(("openssl", "3.0.19")));
        check(b"OpenSSL 1.1.1w  11 Sep 2023\0", Some(("openssl", "1.1.1w")));
        check(b"LibreSSL 3.8.2\0", Some(("libressl", "3.8.2")));
        check(b"OpenSSL PKCS12\0OpenSSL 3.5.1+quic 1 Jul 2025\0", Some(("openssl", "3.5.1+quic")));
        check(b"OpenSSL \0OpenSSL", None);
        check(b"see OpenSSL 1 for", None);
    }
}
