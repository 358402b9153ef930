//! The methods of the machine's libssl3, and of a library that makes its table in the same way.
#![cfg(target_arch = "x86_64")]

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
};

use tlstap_tests::tool;

use super::METHODS;
use crate::resolve::{Class, Method, Probe, Reason, Resolution, elf::Elf, resolve, source::Source};

const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/libssl3.so";

/// The probes of a file that were found in its table.
fn found(path: &Path) -> Vec<Probe> {
    let resolution = resolve(&File::open(path).unwrap());
    let Resolution::Library { name: "nss", probes } = resolution else {
        panic!("{path:?}: {resolution:?}");
    };
    probes.into_iter().filter(|probe| probe.method == Method::Table).collect()
}

#[test]
fn methods_are_found_in_the_code_that_makes_their_table() {
    let found = found(Path::new(LIBRARY));
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

/// Whatever the compiler makes of it: the symbols, which are not looked at, say the same.
#[test]
fn methods_are_those_that_symbols_name() {
    let folder = tempfile::tempdir().unwrap();
    let flags = ["-O1", "-O2", "-O3", "-Os", "-fno-plt", "-fcf-protection", "-fno-tree-vectorize"];
    for flag in flags {
        let library = folder.path().join("layer.so");
        let mut command = tool::command("cc", ["-O2", flag, "-fPIC", "-shared"]).unwrap();
        command.arg("-I/usr/include/nspr").arg("-o").arg(&library);
        command.arg(tool::fixtures().join("layer.c")).arg("-lnspr4");
        tool::run(command).unwrap();
        let cache = Source::new(File::open(&library).unwrap());
        let elf = Elf::parse(&cache).unwrap();
        let found = found(&library);
        assert_eq!(found.len(), METHODS.len(), "{flag}: {found:?}");
        for probe in found {
            let name = probe.symbol.as_bytes();
            let symbol = elf.functions().find(|symbol| symbol.name == name).unwrap();
            assert_eq!(elf.code_offset(symbol.address), Some(probe.offset), "{flag}: {probe:?}");
        }
    }
}

/// The library with each of these numbers, where it follows two bytes and an address, replaced.
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

/// `mov dword [rip+...], PR_DESC_LAYERED`: nothing else says where the table begins.
#[test]
fn a_table_that_is_not_known_is_refused() {
    let file = changed([0xc7, 0x05], [4, 0, 0, 0], [5, 0, 0, 0]);
    let refused = Resolution::Skipped { name: Some("nss"), reason: Reason::UnsupportedLibrary };
    assert_eq!(resolve(&file), refused);
}
