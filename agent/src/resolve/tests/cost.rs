//! A program of 100 MiB costs one reading of its symbols; a known build costs next to nothing, and
//! no other file passes for one.

use std::{fs::File, os::unix::fs::FileExt as _, time::Instant};

use object::elf::SHT_PROGBITS;

use super::{
    bounded::within,
    made::{Made, TEXT},
    measured, probes,
};
use crate::resolve::{Resolution, Resolver};

const MIB: u64 = 1 << 20;

/// Functions that a program with OpenSSL linked in has, and where they are here.
const FUNCTIONS: [(&str, u64); 3] =
    [("SSL_read", TEXT + 0x1000), ("SSL_write", TEXT + 0x2000), ("SSL_free", TEXT + 0x3000)];

/// A program: a fourth of it is code, a fourth is symbols, and half of it is their names.
fn program(size: u64) -> File {
    let count = size / 4 / 24;
    let mut made = Made::new(size / 4);
    let width = usize::try_from(size / 2 / count).unwrap() - 1;
    let other = |number| (format!("{number:N>width$}"), TEXT + number % (size / 4));
    let known = FUNCTIONS.map(|(name, address)| (name.to_owned(), address));
    made.functions(
        false,
        (0..count / 2).map(other).chain(known).chain((count / 2..count).map(other)),
    );
    made.add(".rodata", SHT_PROGBITS.0, &[b'x'; 1 << 20], 0);
    made.finish([7; 20])
}

fn names(resolution: &Resolution) -> Vec<&str> {
    probes(resolution).iter().map(|probe| probe.symbol).collect()
}

#[test]
fn a_program_of_100_mib() {
    let name = "resolve::tests::cost::a_program_of_100_mib";
    within(
        48 * MIB,
        name,
        || program(100 * MIB),
        |program| {
            let size = program.metadata().unwrap().len();
            assert!(size >= 100 * MIB, "{size}");
            let (mut resolver, begun) = (Resolver::default(), Instant::now());
            let (found, read, kept) = measured(&mut resolver, &program);
            let took = begun.elapsed();
            println!("{} of {} KiB read, {} kept, {took:?}", read >> 10, size >> 10, kept >> 10);
            assert_eq!(names(&found), ["SSL_write", "SSL_read", "SSL_free"]);
            // The code is not read, and the symbols are read once.
            assert!(read < size * 4 / 5, "{read} of {size} bytes read");
            assert!(kept < 16 * MIB, "{kept} bytes kept");

            // It is no use to compare them instead.
            assert_eq!(measured(&mut resolver, &program).0, found);
        },
    );
}

/// Nothing is found that is in no table, and all is searched once for that.
#[test]
fn what_has_no_tls_code_is_searched_once() {
    let mut made = Made::new(0x4000);
    made.functions(true, [("exported", TEXT)]);
    made.functions(false, (0..100_000).map(|number| (format!("function_{number}"), TEXT)));
    let file = made.finish([7; 20]);
    let (found, read, _) = measured(&mut Resolver::default(), &file);
    assert_eq!(found, Resolution::Unrelated);
    let size = file.metadata().unwrap().len();
    assert!(read < size * 11 / 10, "{read} of {size} bytes read");
}

/// The same build-id, and the same code elsewhere, or other code in its place.
#[test]
fn another_file_with_the_same_build_id() {
    let library = |place: u64| {
        let mut made = Made::new(0x5000);
        // `push rbp; mov rbp, rsp; ret`
        made.file.write_all_at(b"\x55\x48\x89\xe5\xc3", place).unwrap();
        made.file.write_all_at(b"\x55\x48\x89\xe5\xc3", place + 0x100).unwrap();
        made.functions(true, [("SSL_read", place), ("SSL_write", place + 0x100)]);
        made.finish([7; 20])
    };
    let (first, same, moved) = (library(0x2000), library(0x2000), library(0x3000));
    let mut resolver = Resolver::default();
    let (found, searched, _) = measured(&mut resolver, &first);
    assert_eq!(names(&found), ["SSL_write", "SSL_read"]);
    let (again, compared, _) = measured(&mut resolver, &same);
    assert_eq!(again, found);
    assert!(compared < searched, "{compared} bytes read, {searched} at first");

    let (elsewhere, ..) = measured(&mut resolver, &moved);
    let offsets = |resolution| -> Vec<_> {
        probes(resolution).iter().map(|probe| probe.site_offset()).collect()
    };
    assert_eq!(offsets(&found), [0x2100, 0x2000]);
    assert_eq!(offsets(&elsewhere), [0x3100, 0x3000]);

    // `endbr64` in front, which the site comes behind: where it was is no cheap instruction now.
    let (before, ..) = measured(&mut resolver, &same);
    let probe = probes(&before).iter().find(|probe| probe.symbol == "SSL_read").unwrap();
    same.write_all_at(b"\xf3\x0f\x1e\xfa\x55\xc3", 0x2000).unwrap();
    let (written, ..) = measured(&mut resolver, &same);
    let anew = probes(&written).iter().find(|probe| probe.symbol == "SSL_read").unwrap();
    assert_eq!((probe.site_offset(), anew.site_offset()), (0x2000, 0x2004));
    assert_eq!(written, measured(&mut Resolver::default(), &same).0);
}

/// Two files of one build-id and the same code, of which one has its symbols lead elsewhere: into the
/// middle of an instruction, or to a function that is another one in the other file.
#[test]
fn another_file_whose_symbols_lie() {
    let library = |names: [&str; 2], places: [u64; 2]| {
        let mut made = Made::new(0x5000);
        for place in [0x2000, 0x3000] {
            made.file.write_all_at(b"\x55\x48\x89\xe5\x55\x48\x89\xe5\xc3", place).unwrap();
        }
        made.functions(true, [(names[0], places[0]), (names[1], places[1])]);
        made.finish([7; 20])
    };
    let honest = || library(["SSL_read", "SSL_write"], [0x2000, 0x3000]);
    let alone = measured(&mut Resolver::default(), &honest()).0;
    for liar in [
        library(["SSL_read", "SSL_write"], [0x2004, 0x3000]),
        library(["SSL_write", "SSL_read"], [0x2000, 0x3000]),
    ] {
        let mut resolver = Resolver::default();
        assert_ne!(measured(&mut resolver, &liar).0, alone);
        assert_eq!(measured(&mut resolver, &honest()).0, alone);
    }
}
