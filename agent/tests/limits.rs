//! What resolution may take in time, when it is compiled as releases are: `cargo xtask ci` runs it so. In other
//! builds it is only looked at that nothing fails.
#![cfg(target_arch = "x86_64")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a failure is a panic here, and times are for whoever looks"
)]

#[expect(dead_code, reason = "other tests use more of it")]
#[path = "../src/resolve/tests/made.rs"]
mod made;

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use object::elf::{SHT_DYNSYM, SHT_PROGBITS, SHT_STRTAB, SHT_SYMTAB};
use tlstap::resolve::{Resolution, Resolver};
use tlstap_tests::{go, random::Random};

use self::made::{Made, Section, TEXT};

/// How long a file that is made to do harm may be looked at, whatever comes of it.
const HOSTILE: Duration = Duration::from_millis(100);
/// The same for one of a build that was seen before.
const KNOWN: Duration = Duration::from_millis(1);
/// And for the largest program that there is.
const LARGE: Duration = Duration::from_millis(300);

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Holds the shortest of several times to a limit: the machine may be busy with something else.
#[track_caller]
fn within(limit: Duration, what: &str, looks: usize, mut look: impl FnMut() -> Resolution) {
    let times = (0..looks).map(|_| {
        let begun = Instant::now();
        look();
        begun.elapsed()
    });
    let best = times.min().unwrap();
    println!("{what}: {best:?}");
    assert!(cfg!(debug_assertions) || best < limit, "{what}: {best:?}");
}

fn copy(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

#[test]
fn builds_that_are_known() {
    let libraries = Path::new("/usr/lib/x86_64-linux-gnu");
    let go = go::pairs().unwrap();
    let bare = go.iter().find(|pair| pair.form == "bare").unwrap().web();
    let named = ["libssl.so.3", "libgnutls.so.30", "libssl3.so"].map(|name| libraries.join(name));
    for path in named.into_iter().chain([bare]) {
        let bytes = fs::read(&path).unwrap();
        let (mut resolver, same) = (Resolver::default(), copy(&bytes));
        let first = resolver.resolve(&copy(&bytes), None);
        assert!(matches!(first, Resolution::Library { .. }), "{path:?}: {first:?}");
        within(KNOWN, &path.display().to_string(), 50, || {
            let again = resolver.resolve(&same, None);
            assert_eq!(again, first, "{path:?}");
            again
        });
    }
}

/// A section of a file of 10 GiB that takes no room.
fn sparse(sections: &[(&'static str, u32, u64)]) -> File {
    let mut made = Made::new(0x4000);
    made.file.set_len(10 * GIB).unwrap();
    for &(name, kind, size) in sections {
        let link = u32::try_from(made.sections.len()).unwrap() + 1;
        let section = Section { name, kind, address: TEXT, offset: 0x10000, size, link };
        made.sections.push(section);
    }
    made.finish([7; 20])
}

/// A section of noise that has these texts in it.
fn noise(name: &'static str, size: usize, texts: &[&[u8]]) -> File {
    let mut made = Made::new(0x4000);
    let mut bytes = vec![0; size];
    Random(1).fill(&mut bytes);
    for (number, text) in texts.iter().enumerate() {
        let at = size / 2 + number * 4096;
        bytes[at..at + text.len()].copy_from_slice(text);
    }
    made.add(name, SHT_PROGBITS.0, &bytes, 0);
    made.finish([7; 20])
}

/// A library's mark, and as much code as is looked through for what refers to it.
fn much_code() -> File {
    let mut made = Made::new(300 * MIB);
    made.add(".rodata", SHT_PROGBITS.0, b"ssl/ssl_lib.c\0", 0);
    made.finish([7; 20])
}

/// Functions of these names.
fn named(dynamic: bool, names: impl Iterator<Item = String>) -> File {
    let mut made = Made::new(0x4000);
    made.functions(dynamic, names.map(|name| (name, TEXT)));
    made.finish([7; 20])
}

#[test]
fn files_that_are_made_to_do_harm() {
    let tables = |size| {
        [
            (".dynsym", SHT_DYNSYM.0, size),
            (".dynstr", SHT_STRTAB.0, size),
            (".symtab", SHT_SYMTAB.0, size),
            (".strtab", SHT_STRTAB.0, size),
        ]
    };
    let others =
        |size| [".rodata", ".gopclntab", ".eh_frame"].map(|name| (name, SHT_PROGBITS.0, size));
    let many: Vec<_> = tables(24 * MIB).into_iter().cycle().take(900).collect();
    let mebibytes = |count: usize| count << 20;
    let files = [
        ("tables of 9 GiB", sparse(&tables(9 * GIB))),
        ("tables of 24 MiB", sparse(&tables(24 * MIB))),
        ("900 tables", sparse(&many)),
        ("others of 9 GiB", sparse(&others(9 * GIB))),
        ("others of 64 MiB", sparse(&others(64 * MIB))),
        ("noise", noise(".rodata", mebibytes(64), &[])),
        ("noise with OpenSSL's mark", noise(".rodata", mebibytes(63), &[b"ssl/ssl_lib.c\0"])),
        (
            "noise with the marks of all",
            noise(
                ".rodata",
                mebibytes(63),
                &[b"ssl/ssl_lib.c\0", b"ssl/ssl_lib.cc\0", b"TLS 1.3, server CertificateVerify"],
            ),
        ),
        ("a mark and much code", much_code()),
        ("noise as Go's table", noise(".gopclntab", mebibytes(40), &[])),
        ("a name a million times", named(false, (0..1_000_000).map(|_| "SSL_read".to_owned()))),
        ("many endings", named(false, (0..500_000).map(|number| format!("TLS{number}_method")))),
        ("a long name", named(true, ["x".repeat(mebibytes(40)) + "_method"].into_iter())),
    ];
    for (what, file) in &files {
        within(HOSTILE, what, 3, || Resolver::default().resolve(file, None));
    }
}

/// A program with symbols: a fourth of it is code, the rest are functions and their names.
#[test]
fn a_program_of_100_mib() {
    let count = 100 * MIB / 4 / 24;
    let mut made = Made::new(25 * MIB);
    let functions = (0..count).map(|number| (format!("{number:N>52}"), TEXT + number));
    let known =
        ["SSL_read", "SSL_write", "SSL_free"].into_iter().zip((TEXT + 0x1000..).step_by(0x1000));
    made.functions(false, functions.chain(known.map(|(name, at)| (name.to_owned(), at))));
    let file = made.finish([7; 20]);
    assert!(file.metadata().unwrap().len() >= 100 * MIB);
    within(LARGE, "100 MiB", 3, || {
        let found = Resolver::default().resolve(&file, None);
        assert!(matches!(found, Resolution::Library { name: "openssl", .. }), "{found:?}");
        found
    });
}
