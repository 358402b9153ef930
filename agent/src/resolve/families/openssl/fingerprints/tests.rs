//! What is found in files without symbols, held against the symbols that they had before.
#![cfg(target_arch = "x86_64")]

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tlstap_tests::{
    compile::{self, Linked},
    libraries::Library,
};

use crate::resolve::{Method, Probe, Resolution, elf::Elf, resolve, source::Source};

/// How a program is linked to a library.
const EXECUTABLES: [&[&str]; 3] = [&["-static"], &["-static-pie"], &[]];

/// An extension that shows nothing of what is linked in.
const EXTENSION: [&str; 3] = ["-shared", "-fPIC", "-Wl,--exclude-libs,ALL"];

/// What has to be found, by its name where it is linked in as one function.
const NEEDED: [&str; 3] = ["read", "write", "SSL_new"];

fn strip(whole: &Path) -> PathBuf {
    let stripped = whole.with_extension("stripped");
    let status = Command::new("strip").arg("-o").arg(&stripped).arg(whole).status();
    assert!(status.unwrap().success());
    stripped
}

/// The offsets of a file's functions, by name.
fn symbols(path: &Path) -> BTreeMap<String, u64> {
    let cache = Source::new(File::open(path).unwrap());
    let elf = Elf::parse(&cache).unwrap();
    elf.functions()
        .filter_map(|symbol| {
            let name = String::from_utf8_lossy(symbol.name).into_owned();
            Some((name, elf.code_offset(symbol.address)?))
        })
        .collect()
}

fn found(path: &Path) -> (&'static str, Vec<Probe>) {
    match resolve(&File::open(path).unwrap()) {
        Resolution::Library { name, probes } => (name, probes),
        other => panic!("{path:?}: {other:?}"),
    }
}

/// Holds what is found in the stripped file against the names in the whole one.
#[track_caller]
fn check(whole: &Path, library: &str) {
    let stripped = strip(whole);
    let symbols = symbols(whole);
    let (name, probes) = found(&stripped);
    assert_eq!(name, library, "{whole:?}");
    for probe in &probes {
        println!("{whole:?}: {} at {:#x}", probe.symbol, probe.offset);
        assert_eq!(probe.method, Method::Fingerprint);
        assert_eq!(symbols.get(probe.symbol), Some(&probe.offset), "{} of {whole:?}", probe.symbol);
    }
    let free = (library == "openssl").then_some("SSL_free");
    for needed in NEEDED.into_iter().chain(free) {
        assert!(probes.iter().any(|probe| probe.symbol.contains(needed)), "{needed} of {whole:?}");
    }
}

/// Executables, and where it can be an extension.
fn check_all(linked: impl Fn() -> Linked, library: &str, extension: bool) {
    let folder = TempDir::new().unwrap();
    let extension = extension.then_some(&EXTENSION[..]);
    for options in EXECUTABLES.iter().copied().chain(extension) {
        let mut linked = linked();
        linked.libraries.extend(options.iter().map(ToString::to_string));
        check(&compile::exact(folder.path(), &linked).unwrap(), library);
    }
}

#[test]
fn debians_openssl() {
    check_all(|| Linked::archives(&[]), "openssl", true);
}

#[test]
fn openssl_1_1_1() {
    check_all(|| Library::OpenSsl111.linked().unwrap(), "openssl", true);
}

#[test]
fn the_newest_openssl_3() {
    check_all(|| Library::OpenSsl3.linked().unwrap(), "openssl", true);
}

/// Its code is not made for extensions here.
#[test]
fn boringssl() {
    check_all(|| Library::BoringSsl.linked().unwrap(), "boringssl", false);
}

#[test]
fn aws_lc() {
    check_all(|| Library::AwsLc.linked().unwrap(), "boringssl", true);
}

/// Where the system's programs and libraries are.
const FOLDERS: [&str; 2] = ["/usr/bin", "/usr/lib/x86_64-linux-gnu"];

/// Files that are looked at, and for how long at most altogether.
const FILES: usize = 320;
const LIMIT: Duration = Duration::from_secs(120);

/// Of the machine's files none has such code, but those that have OpenSSL's symbols too.
#[test]
fn nothing_in_other_files() {
    let begun = Instant::now();
    let files = FOLDERS.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let files = files.filter_map(|entry| {
        let path = entry.unwrap().path();
        path.is_file().then_some(path)
    });
    let mut count = 0;
    for path in files {
        let Ok(file) = File::open(&path) else { continue };
        let cache = Source::new(file);
        let Ok(elf) = Elf::parse(&cache) else { continue };
        if let Some((name, probes)) = super::find(&elf, &cache) {
            assert!(!probes.is_empty(), "{path:?}: {name}");
            let known = symbols(&path);
            for probe in probes {
                // What the compiler has put into others has the same error sites.
                let is_its = |&(symbol, offset): &(&String, &u64)| {
                    *offset == probe.offset
                        && (symbol == probe.symbol || probe.symbol.ends_with("_internal"))
                };
                let symbol = known.iter().find(is_its);
                let found =
                    symbol.is_some_and(|(symbol, _)| symbol.to_lowercase().starts_with("ssl_"));
                assert!(found, "{path:?}: {name}: {}", probe.symbol);
            }
        }
        count += 1;
        if count == FILES || begun.elapsed() > LIMIT {
            break;
        }
    }
    println!("{count} files in {:?}", begun.elapsed());
    assert!(count >= 300, "{count} files");
}
