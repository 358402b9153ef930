//! The OpenSSL family: OpenSSL, LibreSSL, BoringSSL and AWS-LC, wherever they are linked.
//!
//! Recognised by the functions that a file defines, not by its name: wheels ship
//! `libssl-8bd944e8.so.3`, Node exports `SSL_*` from its own executable.

use tlstap_ebpf::{Function, direction};

use super::{
    Method, Probe, branches,
    elf::{Elf, Symbol},
};

/// Every function that a probe goes on, in the order in which they are attached. Each is optional:
/// CPython calls only the `_ex` functions, BoringSSL has none of them.
const FUNCTIONS: [(&str, Function); 6] = [
    ("SSL_write", Function::Write),
    ("SSL_read", Function::Read),
    ("SSL_write_ex", Function::WriteEx),
    ("SSL_read_ex", Function::ReadEx),
    ("SSL_write_ex2", Function::WriteEx2),
    ("SSL_free", Function::Free),
];

/// The probes of the file; empty when it does not contain a library of this family.
pub(crate) fn probes(elf: &Elf<'_>) -> Vec<Probe> {
    let exports = Exports::of(elf);
    let carries = |wanted| {
        exports
            .0
            .iter()
            .any(|(_, function, _)| *function != Function::Free && function.direction() == wanted)
    };
    if !carries(direction::TRANSMIT) || !carries(direction::RECEIVE) {
        return Vec::new();
    }
    let free = exports.probe(elf, Function::Free);
    match (exports.internal_write(elf), exports.internal_read(elf)) {
        (Some(write), Some(read)) => [write, read].into_iter().chain(free).collect(),
        _ => {
            FUNCTIONS.into_iter().filter_map(|(_, function)| exports.probe(elf, function)).collect()
        }
    }
}

/// The functions of the family that a file defines: name, kind, symbol.
struct Exports<'d>(Vec<(&'static str, Function, Symbol<'d>)>);

impl<'d> Exports<'d> {
    fn of(elf: &Elf<'d>) -> Self {
        let mut found: Vec<(&'static str, Function, Symbol<'d>)> = Vec::new();
        for symbol in elf.functions() {
            let known = FUNCTIONS.into_iter().find(|(name, _)| name.as_bytes() == symbol.name);
            let Some((name, function)) = known else { continue };
            // A symbol stands in .dynsym and .symtab, or in several versions.
            if !found.iter().any(|(_, have, _)| *have == function) {
                found.push((name, function, symbol));
            }
        }
        Self(found)
    }

    fn symbol(&self, wanted: Function) -> Option<&Symbol<'d>> {
        self.0.iter().find(|(_, function, _)| *function == wanted).map(|(_, _, symbol)| symbol)
    }

    fn probe(&self, elf: &Elf<'_>, wanted: Function) -> Option<Probe> {
        let (symbol, function, at) = self.0.iter().find(|(_, function, _)| *function == wanted)?;
        let offset = elf.code_offset(at.address)?;
        Some(Probe { symbol, function: *function, offset, method: at.method })
    }

    /// `ssl_write_internal(SSL *, const void *, size_t, size_t *)`, since 3.3 with flags before the
    /// last: what all functions that write go through, and the BIO filter of `s_server -www` too.
    fn internal_write(&self, elf: &Elf<'_>) -> Option<Probe> {
        let (outer, function) = match self.symbol(Function::WriteEx2) {
            Some(outer) => (outer, Function::WriteEx2),
            None => (self.symbol(Function::WriteEx)?, Function::WriteEx),
        };
        let plain = self.symbol(Function::Write)?;
        self.internal(elf, "ssl_write_internal", function, outer, plain)
    }

    /// `ssl_read_internal(SSL *, void *, size_t, size_t *)`: likewise.
    fn internal_read(&self, elf: &Elf<'_>) -> Option<Probe> {
        let outer = self.symbol(Function::ReadEx)?;
        let plain = self.symbol(Function::Read)?;
        self.internal(elf, "ssl_read_internal", Function::ReadEx, outer, plain)
    }

    /// The function without a symbol that `outer` calls first with its own arguments, if `plain`
    /// calls it too: then it is the common one behind both (OpenSSL 1.1.1 and later).
    fn internal(
        &self,
        elf: &Elf<'_>,
        symbol: &'static str,
        function: Function,
        outer: &Symbol<'_>,
        plain: &Symbol<'_>,
    ) -> Option<Probe> {
        let calls = |symbol: &Symbol<'_>| branches::calls(elf, symbol.address, symbol.size);
        let address = *calls(outer).first()?;
        let exported = self.0.iter().any(|(_, _, known)| known.address == address);
        if exported || !calls(plain).contains(&address) {
            return None;
        }
        let offset = elf.code_offset(address)?;
        Some(Probe { symbol, function, offset, method: Method::Callee })
    }
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
