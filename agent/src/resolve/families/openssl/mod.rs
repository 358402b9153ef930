//! The OpenSSL family: OpenSSL, LibreSSL, BoringSSL and AWS-LC, wherever they are linked.
//!
//! Recognised by the functions that a file defines, not by its name: wheels ship
//! `libssl-8bd944e8.so.3`, Node exports `SSL_*` from its own executable.

mod fingerprints;
mod methods;

use std::collections::BTreeSet;

use tlstap_ebpf::Function;

use super::{
    Family, MAX_NUMBER, Version,
    exports::{self, Export, Named},
    number,
};
use crate::resolve::{Method, Probe, branches, elf::Elf, sites::Extent, symbols::Symbol};

pub(crate) use fingerprints::find as fingerprints;

pub(super) const FAMILY: Family = Family {
    name: "openssl",
    libraries: &["libssl"],
    companion: Some("libcrypto"),
    probes,
    names: || [exports::names(&FUNCTIONS), exports::names(&CIPHERTEXT)].concat(),
    version,
};

/// How the names end of functions that are looked for beside those in the tables.
pub(super) const ENDINGS: [&str; 1] = [methods::ENDING];

/// Every function that a probe goes on, in the order in which they are attached: what moves bytes
/// first. Each is optional: CPython calls only the `_ex` functions, BoringSSL has none of them.
const FUNCTIONS: [Named; 20] = [
    ("SSL_write", Function::Write),
    ("SSL_read", Function::Read),
    ("SSL_write_ex", Function::WriteEx),
    ("SSL_read_ex", Function::ReadEx),
    ("SSL_write_ex2", Function::WriteEx2),
    ("SSL_write_early_data", Function::WriteEarlyData),
    ("SSL_read_early_data", Function::ReadEarlyData),
    // All handshakes that the program asks for; others happen inside reads and writes.
    ("SSL_do_handshake", Function::Handshake),
    ("SSL_sendfile", Function::Sendfile),
    ("SSL_free", Function::Free),
    ("SSL_clear", Function::Clear),
    ("SSL_peek", Function::Peek),
    ("SSL_peek_ex", Function::Peek),
    ("SSL_shutdown", Function::Shutdown),
    ("SSL_set0_rbio", Function::SetTransport),
    ("SSL_set0_wbio", Function::SetTransport),
    ("SSL_set_bio", Function::SetTransport),
    ("SSL_set_fd", Function::SetDescriptor),
    ("SSL_set_rfd", Function::SetDescriptor),
    ("SSL_set_wfd", Function::SetDescriptor),
];

/// The probes of the file; empty when it does not contain a library of this family.
fn probes(elf: &Elf<'_>) -> Vec<Probe> {
    let exports = Exports::of(elf);
    if !exports::are_whole(exports.0.iter().map(|export| export.function)) || exports.wraps(elf) {
        return Vec::new();
    }
    let (payload, rest): (Vec<_>, Vec<_>) = exports
        .0
        .iter()
        .filter(|export| !exports.is_covered(elf, export))
        .partition(|export| export.function.carries_payload());
    let internal = exports.internal_write(elf).zip(exports.internal_read(elf));
    let ends = internal.as_ref().and_then(|_| exports.read_ends(elf));
    let needed = |export: &&Export<'_>| match export.function {
        // It calls nothing that is probed then.
        Function::Peek => internal.is_none(),
        // Else reads tell the sockets of connections.
        Function::Handshake => ends.is_some(),
        _ => true,
    };
    let rest: Vec<_> = rest.into_iter().filter(needed).collect();
    let payload: Vec<_> = match internal {
        Some((write, read)) => {
            [write].into_iter().chain(ends.unwrap_or_else(|| vec![read])).collect()
        }
        None => payload.into_iter().filter_map(|export| export.probe(elf)).collect(),
    };
    payload.into_iter().chain(rest.into_iter().filter_map(|export| export.probe(elf))).collect()
}

/// What takes ciphertext from the library.
const CIPHERTEXT: [Named; 2] =
    [("BIO_write", Function::BioWrite), ("BIO_write_ex", Function::BioWrite)];

/// The probe on what takes ciphertext from the library: `BIO_write(BIO *, const void *, int)`, or
/// `bio_write_intern(BIO *, const void *, size_t, size_t *)` behind it and `BIO_write_ex`.
pub(crate) fn ciphertext(elf: &Elf<'_>) -> Option<Probe> {
    let exports = Exports(exports::of(elf, &CIPHERTEXT));
    let plain = exports.0.iter().find(|export| export.name == "BIO_write")?;
    let ex = exports.named("BIO_write_ex");
    ex.and_then(|ex| common(elf, "bio_write_intern", Function::BioWrite, ex, &plain.symbol))
        .or_else(|| plain.probe(elf))
}

/// The functions that all reads end in, if they are known.
#[cfg(test)]
pub(crate) fn reads(elf: &Elf<'_>) -> Option<BTreeSet<u64>> {
    Exports::of(elf).reads(elf)
}

/// The functions of the family that a file defines, in the order of [`FUNCTIONS`].
struct Exports<'d>(Vec<Export<'d>>);

impl<'d> Exports<'d> {
    fn of(elf: &Elf<'d>) -> Self {
        Self(exports::of(elf, &FUNCTIONS))
    }

    /// Whether these are functions of libgnutls-openssl, which go on to GnuTLS's own. It has few of
    /// OpenSSL's, and among them no `SSL_do_handshake`.
    fn wraps(&self, elf: &Elf<'_>) -> bool {
        self.symbol(Function::Handshake).is_none() && !elf.imports(b"gnutls_record_send").is_empty()
    }

    fn symbol(&self, wanted: Function) -> Option<&Symbol<'d>> {
        self.0.iter().find(|export| export.function == wanted).map(|export| &export.symbol)
    }

    fn named(&self, wanted: &str) -> Option<&Symbol<'d>> {
        self.0.iter().find(|export| export.name == wanted).map(|export| &export.symbol)
    }

    /// Whether a function needs no probe, since others that have one are called with it.
    fn is_covered(&self, elf: &Elf<'_>, export: &Export<'_>) -> bool {
        let calls = |from: &Symbol<'_>, to: Option<&Symbol<'_>>| {
            to.is_some_and(|to| branches::calls(elf, from.address, from.size).contains(&to.address))
        };
        match export.name {
            // LibreSSL's and AWS-LC's, which may be given no place for the length.
            "SSL_write_ex" => calls(&export.symbol, self.named("SSL_write")),
            "SSL_read_ex" => calls(&export.symbol, self.named("SSL_read")),
            // It calls both that are named after the two ends.
            "SSL_set_bio" => calls(&export.symbol, self.named("SSL_set0_wbio")),
            // BoringSSL's SSL_read is a peek and a step forward.
            "SSL_peek" | "SSL_peek_ex" => {
                self.named("SSL_read").is_some_and(|read| calls(read, self.named("SSL_peek")))
            }
            _ => false,
        }
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

    /// The probes that look at calls that read near their end only. They keep nothing while a call
    /// lasts, so that the sockets it uses are not known by it: the handshake tells them instead.
    fn read_ends(&self, elf: &Elf<'_>) -> Option<Vec<Probe>> {
        let (mut probes, mut planned) = (Vec::new(), false);
        for function in self.reads(elf)? {
            if let Some(ends) = Probe::ends(elf, "ssl3_read", function) {
                planned = true;
                probes.extend(ends);
            } else {
                let extent = Extent { address: function, size: 0 };
                let probe = Probe::plan(elf, "ssl_read", Function::ReadEx, extent, Method::Callee)?;
                probes.push(probe);
            }
        }
        (planned && self.symbol(Function::Handshake).is_some()).then_some(probes)
    }

    /// The functions that all reads end in.
    fn reads(&self, elf: &Elf<'_>) -> Option<BTreeSet<u64>> {
        let outer = self.symbol(Function::ReadEx)?;
        methods::reads(elf, branches::always_called(elf, outer.address, outer.size)?)
    }

    fn internal(
        &self,
        elf: &Elf<'_>,
        symbol: &'static str,
        function: Function,
        outer: &Symbol<'_>,
        plain: &Symbol<'_>,
    ) -> Option<Probe> {
        let probe = common(elf, symbol, function, outer, plain)?;
        let exported = |export: &Export<'_>| elf.code_offset(export.symbol.address);
        (!self.0.iter().any(|export| exported(export) == Some(probe.offset))).then_some(probe)
    }
}

/// The function that `outer` calls before any branch, so with its own arguments, if `plain` calls
/// it too: then it is the common one behind both (OpenSSL 1.1.1 and later). Where the compiler has put
/// it into both of them, as in Node, what they call are others, behind branches.
fn common(
    elf: &Elf<'_>,
    symbol: &'static str,
    function: Function,
    outer: &Symbol<'_>,
    plain: &Symbol<'_>,
) -> Option<Probe> {
    let address = branches::always_called(elf, outer.address, outer.size)?;
    if !branches::calls(elf, plain.address, plain.size).contains(&address) {
        return None;
    }
    // It has no symbol, so nothing says where it ends.
    Probe::plan(elf, symbol, function, Extent { address, size: 0 }, Method::Callee)
}

/// The version that the file names, as (library, version).
///
/// libcrypto carries it, and so does a program with the library linked in; libssl does not.
fn version(elf: &Elf<'_>) -> Option<Version> {
    elf.search(b".rodata", 2 * MAX_NUMBER, find_version)
}

/// Finds `OpenSSL 3.0.19 27 Jan 2026` and its like: the product, then a number with dots. `OpenSSL 1.1.1
/// (compatible; AWS-LC 1.40.0)` is another product, and BoringSSL, which says so too, has no version.
fn find_version(strings: &[u8]) -> Option<Version> {
    const PRODUCTS: [(&str, &str); 3] =
        [("AWS-LC ", "aws-lc"), ("OpenSSL ", "openssl"), ("LibreSSL ", "libressl")];
    const COMPATIBLE: &[u8] = b" (compatible";
    PRODUCTS.into_iter().find_map(|(product, name)| {
        memchr::memmem::find_iter(strings, product).find_map(|at| {
            let rest = strings.get(at + product.len()..)?;
            let version = number(rest)?;
            let own = !rest.get(version.len()..)?.starts_with(COMPATIBLE);
            own.then_some((name, version))
        })
    })
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
        check(b"OpenSSL 1.1.1 (compatible; BoringSSL)\0", None);
        check(b"OpenSSL 1.1.1 (compatible; AWS-LC 1.40.0)\0", Some(("aws-lc", "1.40.0")));
        check(b"see OpenSSL 1 for", None);
    }
}
