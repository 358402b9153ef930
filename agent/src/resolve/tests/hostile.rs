//! Files that are made to harm who reads them: refused at little cost, or read as far as they are
//! what they claim.

use std::{fs::File, io::Read as _, os::unix::fs::FileExt as _, time::Instant};

use object::elf::{SHT_DYNSYM, SHT_NOTE, SHT_PROGBITS, SHT_RELA, SHT_STRTAB, SHT_SYMTAB};

use super::{
    bounded::within,
    made::{HEADER, Made, SECTION, SEGMENT, Section, TEXT},
    measured, probes,
};
use crate::resolve::{Resolution, Resolver};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A library, and what it is resolved to.
fn library() -> File {
    let mut made = Made::new(0x4000);
    made.functions(true, [("SSL_read", TEXT), ("SSL_write", TEXT + 16)]);
    made.finish([7; 20])
}

/// Resolves a file, which must cost no more than so many bytes read.
#[track_caller]
fn check(what: &str, file: &File, read_at_most: u64) -> Resolution {
    let begun = Instant::now();
    let (resolution, read, kept) = measured(&mut Resolver::default(), file);
    println!("{what}: {} KiB read, {} KiB kept, {:?}", read >> 10, kept >> 10, begun.elapsed());
    assert!(read <= read_at_most, "{what}: {read} bytes read");
    for probe in probes(&resolution) {
        assert!(probe.site_offset() < file.metadata().unwrap().len(), "{what}: {probe:?}");
    }
    resolution
}

fn whole(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn of(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

#[test]
fn cut_off_anywhere() {
    let bytes = whole(&library());
    assert!(!probes(&check("whole", &of(&bytes), MIB)).is_empty());
    let interesting = (0..0x200).chain((0x200..bytes.len()).step_by(37));
    for length in interesting {
        measured(&mut Resolver::default(), &of(&bytes[..length]));
    }
}

/// Every byte of the headers, as small and as large as can be, and one bit of it other than it is.
#[test]
fn other_bytes_in_the_headers() {
    let bytes = whole(&library());
    let sections = bytes.len() - 7 * usize::try_from(SECTION).unwrap();
    let headers = usize::try_from(HEADER + 2 * SEGMENT).unwrap();
    let file = of(&bytes);
    let mut found = 0;
    for at in (0..headers).chain(sections - 64..bytes.len()) {
        for byte in [0, 0xff, bytes[at] ^ 0x10, bytes[at].wrapping_add(1)] {
            file.write_all_at(&[byte], at as u64).unwrap();
            let (resolution, read, _) = measured(&mut Resolver::default(), &file);
            found += usize::from(!probes(&resolution).is_empty());
            for probe in probes(&resolution) {
                assert!(probe.site_offset() < bytes.len() as u64, "{byte:#x} at {at}: {probe:?}");
            }
            assert!(read < MIB, "{read} bytes read with {byte:#x} at {at}");
        }
        file.write_all_at(&[bytes[at]], at as u64).unwrap();
    }
    // Most bytes do not matter.
    assert!(found > 100, "{found}");
}

/// Sections of which each claims to be the whole of a file of 10 GiB, which takes no room.
fn sparse(kinds: &[(&'static str, u32)], count: usize, size: u64) -> File {
    let mut made = Made::new(0x4000);
    made.file.set_len(10 * GIB).unwrap();
    for number in 0..count {
        let (name, kind) = kinds[number % kinds.len()];
        let link = u32::try_from(made.sections.len()).unwrap() + 1;
        let section = Section { name, kind, address: TEXT, offset: 0x10000, size, link };
        made.sections.push(section);
    }
    made.finish([7; 20])
}

#[test]
fn sparse_and_overlapping() {
    let name = "resolve::tests::hostile::sparse_and_overlapping";
    within(
        64 * MIB,
        name,
        || (),
        |()| {
            let tables = [
                (".dynsym", SHT_DYNSYM.0),
                (".dynstr", SHT_STRTAB.0),
                (".symtab", SHT_SYMTAB.0),
                (".strtab", SHT_STRTAB.0),
            ];
            let others = [
                (".rodata", SHT_PROGBITS.0),
                (".gopclntab", SHT_PROGBITS.0),
                (".rela.dyn", SHT_RELA.0),
                (".text", SHT_PROGBITS.0),
                (".note", SHT_NOTE.0),
            ];
            check("tables of 9 GiB", &sparse(&tables, 4, 9 * GIB), MIB);
            check("others of 9 GiB", &sparse(&others, 5, 9 * GIB), MIB);
            check("tables at the bound", &sparse(&tables, 4, 24 * MIB), 200 * MIB);
            check("tables over the bound", &sparse(&tables, 4, 96 * MIB), 200 * MIB);
            check("900 tables", &sparse(&tables, 900, 24 * MIB), 200 * MIB);
            check("900 others", &sparse(&others, 900, 24 * MIB), 200 * MIB);
            check("others at the bound", &sparse(&others, 5, 64 * MIB), 200 * MIB);
            check("sizes of 2^64", &sparse(&tables, 4, u64::MAX), MIB);
            check("sizes that overflow", &sparse(&others, 4, u64::MAX - 0x10000), MIB);
        },
    );
}

/// The same name a million times, and at every symbol.
#[test]
fn names_without_end() {
    let name = "resolve::tests::hostile::names_without_end";
    let files = || {
        let mut many = Made::new(0x4000);
        many.functions(false, (0..1_000_000).map(|_| ("SSL_read", TEXT)));
        let mut endings = Made::new(0x4000);
        endings.functions(false, (0..100_000).map(|number| (format!("TLS{number}_method"), TEXT)));
        let mut long = Made::new(0x4000);
        long.functions(
            true,
            [("x".repeat(20 << 20) + "_method", TEXT), ("SSL_write".into(), TEXT)],
        );
        [many, endings, long].map(|made| made.finish([7; 20]))
    };
    within(64 * MIB, name, files, |[many, endings, long]| {
        assert_eq!(check("one name", &many, 40 * MIB), Resolution::Unrelated);
        assert_eq!(check("many names", &endings, 40 * MIB), Resolution::Unrelated);
        assert_eq!(check("a long name", &long, 40 * MIB), Resolution::Unrelated);
    });
}

/// Counts of headers that no file has room for, and those that it could have.
#[test]
fn counts_without_end() {
    let bytes = whole(&library());
    let with = |changes: &[(usize, &[u8])]| {
        let mut bytes = bytes.clone();
        for (at, new) in changes {
            bytes[*at..at + new.len()].copy_from_slice(new);
        }
        let file = of(&bytes);
        file.set_len(10 * GIB).unwrap();
        file
    };
    let all = [0xff; 8];
    // e_phoff, e_shoff, e_phnum, e_shnum, e_shstrndx
    for (at, length) in [(32, 8), (40, 8), (56, 2), (60, 2), (62, 2)] {
        check(&format!("all ones at {at}"), &with(&[(at, &all[..length])]), MIB);
    }
    // The number of sections is the first one's size when the header says 0.
    let first = usize::try_from(u64::from_le_bytes(bytes[40..48].try_into().unwrap())).unwrap();
    for size in [u64::MAX, u64::from(u32::MAX), 1 << 20, 2000] {
        let size = size.to_le_bytes();
        check("sections", &with(&[(60, &[0, 0]), (first + 32, &size)]), MIB);
        check("segments", &with(&[(56, &all[..2]), (first + 44, &size[..4])]), MIB);
    }
}

#[test]
fn no_elf_at_all() {
    let sparse = tempfile::tempfile().unwrap();
    sparse.set_len(10 * GIB).unwrap();
    assert_eq!(check("zeros", &sparse, MIB), Resolution::Unrelated);
    assert_eq!(check("nothing", &of(b""), MIB), Resolution::Unrelated);
    let mut random = vec![0; 1 << 20];
    File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
    random[..16].copy_from_slice(&whole(&library())[..16]);
    check("noise", &of(&random), 4 * MIB);
    // Another architecture's: its beginning is looked at.
    let mut foreign = whole(&library());
    foreign[18] = 0x28;
    let foreign = of(&foreign);
    foreign.set_len(10 * GIB).unwrap();
    check("another architecture", &foreign, 9 * MIB);
}
