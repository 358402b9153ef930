//! NSS: what libssl3 does with the descriptors that are its own.
//!
//! A program calls `PR_Read` and its like of NSPR, for files and sockets of all kinds; they jump to what
//! the descriptor's table of methods says (nspr/prio.h). Those of TLS are the static functions of
//! lib/ssl/sslsock.c (3.87). libssl3 fills in their table itself: they are found by what it puts there.
//! `ssl_WriteV` has no probe: it sends by `ssl_Send`.
//!
//! The TLS object is the descriptor, a `PRFileDesc *`.

mod methods;
mod values;

use tlstap_ebpf::Function;

use super::{
    Family, Version,
    exports::{self, Named},
    number_after,
};
use crate::resolve::{Method, Probe, elf::Elf};

pub(super) const FAMILY: Family =
    Family { name: "nss", libraries: &["libssl3.so"], companion: None, probes, version };

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

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::{
        fs::{self, File},
        io::Write as _,
    };

    use super::METHODS;
    use crate::resolve::{Class, Method, Reason, Resolution, resolve};

    const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/libssl3.so";

    /// The library with each of these parts of it, where they follow two bytes and an address, replaced.
    fn changed(before: [u8; 2], from: [u8; 4], to: [u8; 4]) -> File {
        let mut bytes = fs::read(LIBRARY).unwrap();
        let found: Vec<_> = bytes
            .windows(10)
            .enumerate()
            .filter(|(_, window)| window[..2] == before && window[6..] == from)
            .map(|(at, _)| at + 6)
            .collect();
        assert!(!found.is_empty());
        for at in found {
            bytes[at..at + 4].copy_from_slice(&to);
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        file
    }

    #[test]
    fn methods_are_found_in_the_code_that_makes_their_table() {
        let Resolution::Library { name: "nss", probes } = resolve(&File::open(LIBRARY).unwrap())
        else {
            panic!("not found");
        };
        let found: Vec<_> = probes.iter().filter(|probe| probe.method == Method::Table).collect();
        assert_eq!(
            found.iter().map(|probe| (probe.symbol, probe.function)).collect::<Vec<_>>(),
            METHODS.map(|(name, _, function)| (name, function))
        );
        let mut offsets: Vec<_> = found.iter().map(|probe| probe.offset).collect();
        offsets.sort_unstable();
        offsets.dedup();
        assert_eq!(offsets.len(), METHODS.len(), "{found:?}");
        assert!(found.iter().all(|probe| probe.site.class == Class::Emulated), "{found:?}");
    }

    /// `mov dword [rip+...], PR_DESC_LAYERED`: nothing else says where the table begins.
    #[test]
    fn a_table_that_is_not_known_is_refused() {
        let file = changed([0xc7, 0x05], [4, 0, 0, 0], [5, 0, 0, 0]);
        let refused = Resolution::Skipped { name: Some("nss"), reason: Reason::UnsupportedLibrary };
        assert_eq!(resolve(&file), refused);
    }
}
