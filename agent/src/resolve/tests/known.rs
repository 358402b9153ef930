//! A build that was seen before, in another file: it costs next to nothing, and a file that differs where it
//! matters does not pass for it. Not so for what is known by more than can be compared: megabytes of symbols,
//! all of the code, another file.
#![cfg(target_arch = "x86_64")]

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use tlstap_tests::go;

use super::{measured, probes};
use crate::resolve::{Resolution, Resolver, elf::Elf, families, source::Source};

const DEBIAN: &str = "/usr/lib/x86_64-linux-gnu";

/// A file of each kind, and its library.
fn files() -> Vec<(&'static str, PathBuf)> {
    let go = go::pairs().unwrap();
    let bare = go.iter().find(|pair| pair.form == "bare").unwrap().web();
    vec![
        ("openssl", Path::new(DEBIAN).join("libssl.so.3")),
        ("gnutls", Path::new(DEBIAN).join("libgnutls.so.30")),
        ("nss", Path::new(DEBIAN).join("libssl3.so")),
        ("go", bare),
    ]
}

fn copy(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// How long that takes, `agent/tests/limits.rs` knows.
#[test]
fn the_second_sight_costs_a_comparison() {
    for (library, path) in files() {
        let bytes = fs::read(&path).unwrap();
        let mut resolver = Resolver::default();
        let (first, searched, _) = measured(&mut resolver, &copy(&bytes));
        assert!(
            matches!(first, Resolution::Library { name, .. } if name == library),
            "{path:?}: {first:?}"
        );
        let (second, read, _) = measured(&mut resolver, &copy(&bytes));
        assert_eq!(second, first, "{path:?}");
        assert!(read < searched && read < 1 << 20, "{path:?}: {read} bytes read");
    }
}

/// Whatever a file has in place of something that was relied on: neither passes for the other.
#[test]
fn what_is_relied_on_is_compared() {
    for (_, path) in files() {
        let bytes = fs::read(&path).unwrap();
        let honest = copy(&bytes);
        let alone = measured(&mut Resolver::default(), &honest).0;
        let mut different = 0;
        for (offset, length) in relied_on(&honest) {
            let changed = copy(&bytes);
            let place = offset + length / 2;
            let byte = bytes[usize::try_from(place).unwrap()];
            changed.write_all_at(&[byte ^ 0x11], place).unwrap();
            let other = measured(&mut Resolver::default(), &changed).0;
            different += usize::from(other != alone);
            let mut resolver = Resolver::default();
            assert_eq!(measured(&mut resolver, &changed).0, other, "{path:?} at {place:#x}");
            assert_eq!(measured(&mut resolver, &honest).0, alone, "{path:?} at {place:#x}");
            assert_eq!(measured(&mut resolver, &changed).0, other, "{path:?} at {place:#x}");
        }
        println!("{path:?}: {different} changes make a difference");
        assert!(different > 0 && !probes(&alone).is_empty(), "{path:?}: {different}");
    }
}

/// Some of the places that a plan of the file is compared in.
fn relied_on(file: &File) -> Vec<(u64, u64)> {
    /// As many as do not take a minute.
    const SOME: usize = 24;
    let source = Source::new(file.try_clone().unwrap());
    let elf = Elf::parse(&source).unwrap();
    assert!(families::find(&elf).is_some());
    let mut all = elf.looked_at().expect("all of it is known");
    all.sort_unstable();
    let step = all.len().div_ceil(SOME);
    all.into_iter().step_by(step).collect()
}
