//! NSS: what libssl3 does with the descriptors that are its own.
//!
//! A program calls `PR_Read` and its like of NSPR, for files and sockets of all kinds; they jump to what
//! the descriptor's table of methods says (nspr/prio.h). Those of TLS are the static functions of
//! lib/ssl/sslsock.c (3.87). libssl3 fills in their table itself: they are found by what it puts there.
//! `ssl_WriteV` has no probe: it sends by `ssl_Send`.
//!
//! The TLS object is the descriptor, a `PRFileDesc *`.

mod methods;
#[cfg(test)]
mod tests;
mod values;

use tlstap_ebpf::Function;

use super::{
    Family, Version,
    exports::{self, Named},
    number_after,
};
use crate::resolve::{Method, Probe, elf::Elf};

pub(super) const FAMILY: Family = Family {
    name: "nss",
    libraries: &["libssl3.so"],
    companion: None,
    probes,
    names: || exports::names(&FUNCTIONS),
    version,
};

/// Begins another connection on a descriptor that has had one.
const FUNCTIONS: [Named; 1] = [("SSL_ResetHandshake", Function::Clear)];

/// Where they stand in the table (`struct PRIOMethods`, nspr/prio.h), bytes.
const METHODS: [(&str, u64, Function); 5] = [
    ("ssl_Write", 0x18, Function::Write),
    ("ssl_Read", 0x10, Function::Read),
    ("ssl_Send", 0x90, Function::Write),
    ("ssl_Recv", 0x88, Function::ReadUnlessPeek),
    ("ssl_Close", 0x08, Function::Free),
];

fn probes(elf: &Elf<'_>) -> Vec<Probe> {
    let exports = exports::of(elf, &FUNCTIONS);
    if exports.is_empty() {
        return Vec::new();
    }
    let found = methods::find(elf, METHODS.map(|(_, place, _)| place)).unwrap_or_default();
    let probe =
        |((name, _, function), extent)| Probe::plan(elf, name, function, extent, Method::Table);
    let mut probes: Vec<_> = METHODS.into_iter().zip(found).filter_map(probe).collect();
    if probes.len() < METHODS.len() {
        return Vec::new();
    }
    probes.extend(exports.iter().filter_map(|export| export.probe(elf)));
    probes
}

/// `Version: NSS 3.87.1 Basic ECC` (lib/ssl/sslver.c).
fn version(elf: &Elf<'_>) -> Option<Version> {
    number_after(elf, &[b"Version: NSS "]).map(|version| ("nss", version))
}
