//! The table and what is planned from it, on programs of two versions of Go in every form, against what
//! Go's own tools say; and tables that lie.

use std::{
    collections::BTreeSet,
    fs,
    fs::File,
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, Instant},
};

use tlstap_tests::go::{Pair, pairs};

use super::*;
use crate::resolve::{Resolution, resolve, source::Source, version};

fn open(path: &Path) -> Source {
    Source::new(File::open(path).unwrap())
}

fn probes_of(path: &Path) -> Vec<Probe> {
    match resolve(&File::open(path).unwrap()) {
        Resolution::Library { name: "go", probes } => probes,
        other => panic!("{path:?}: {other:?}"),
    }
}

/// Numbers without an order.
struct Random(u64);

impl Random {
    /// The next of SplitMix64, below a bound.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }
}

/// The form that has the same code, with symbols.
fn with_symbols<'a>(all: &'a [Pair], pair: &Pair) -> &'a Pair {
    let form = match pair.form {
        "bare" => "plain",
        "stripped" => "cgo-pie",
        form => form,
    };
    all.iter().find(|other| other.form == form && other.version == pair.version).unwrap()
}

#[test]
fn functions_are_where_gos_tools_say() {
    let all = pairs().unwrap();
    for pair in &all {
        let program = pair.web();
        println!("{} {}", pair.version, pair.form);
        let probes = probes_of(&program);
        let known = with_symbols(&all, pair);
        let cache = open(&known.web());
        let elf = Elf::parse(&cache).unwrap();
        let functions = known.functions(&known.web()).unwrap();
        for (name, function) in FUNCTIONS {
            let of_it = || probes.iter().filter(|probe| probe.symbol == name);
            let (address, size) = functions[name];
            let offset = elf.code_offset(address).unwrap();
            assert!(of_it().all(|probe| probe.offset == offset), "{name}");
            assert!(of_it().all(|probe| probe.method == Method::Pclntab), "{name}");
            assert!(of_it().all(|probe| probe.site.offset < size), "{name}");
            let entries = of_it().filter(|probe| probe.function == function).count();
            assert_eq!(entries, 1, "{name}");
            let exits: BTreeSet<_> = of_it()
                .filter(|probe| probe.function == Function::GoReturn)
                .map(|probe| address + probe.site.offset)
                .collect();
            let returns = match function {
                Function::GoClose => BTreeSet::new(),
                _ => known.returns(&known.web(), name).unwrap(),
            };
            assert_eq!(exits, returns, "{name}");
        }
        // No entry is attached before the exits.
        let first = probes.iter().position(|probe| probe.function != Function::GoReturn).unwrap();
        assert!(probes[first..].iter().all(|probe| probe.function != Function::GoReturn));
        let told = version(&File::open(&program).unwrap(), "go");
        assert_eq!(told, Some(("go", pair.version.clone())));
    }
}

/// Without TLS in it, a program of Go is nothing to us.
#[test]
fn not_every_program_of_go() {
    let file = File::open(tlstap_tests::tool::find("gofmt").unwrap());
    assert_eq!(resolve(&file.unwrap()), Resolution::Unrelated);
}

/// A copy of a program that can be broken, and where parts of it lie.
struct Broken {
    file: File,
    table: u64,
    size: u64,
    sections: u64,
}

impl Broken {
    fn of(path: &Path) -> Self {
        let file = tempfile::tempfile().unwrap();
        let bytes = fs::read(path).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let cache = open(path);
        let elf = Elf::parse(&cache).unwrap();
        let names = [&b".gopclntab"[..], b".data.rel.ro.gopclntab", b".data.rel.ro"];
        let section = names.into_iter().find_map(|name| elf.section(name)).unwrap();
        let table = memchr::memmem::find(&bytes, section).unwrap();
        let (table, size) = (u64::try_from(table).unwrap(), u64::try_from(section.len()).unwrap());
        let sections = u64::from_le_bytes(bytes[40..48].try_into().unwrap());
        Self { file, table, size, sections }
    }

    /// Puts bytes somewhere, looks, and takes them back.
    fn with(&self, at: u64, bytes: &[u8]) -> Resolution {
        let mut before = vec![0; bytes.len()];
        self.file.read_exact_at(&mut before, at).unwrap();
        self.file.write_all_at(bytes, at).unwrap();
        let resolution = resolve(&self.file);
        let _ = version(&self.file, "go");
        self.file.write_all_at(&before, at).unwrap();
        resolution
    }
}

/// Where a function is other than expected, the file is not probed at all.
#[test]
fn a_function_that_is_not_understood_is_refused() {
    let all = pairs().unwrap();
    let pair = all.iter().find(|pair| pair.form == "bare").unwrap();
    let broken = Broken::of(&pair.web());
    let refused = Resolution::Skipped { name: Some("go"), reason: Reason::Unsafe };
    for probe in probes_of(&pair.web()) {
        if probe.function == Function::GoReturn {
            continue;
        }
        // Another check of the stack, as before Go 1.17; a jump that leads nowhere known.
        let check = &[0x64, 0x48, 0x8b, 0x0c, 0x25];
        assert_eq!(broken.with(probe.offset, check), refused, "{}", probe.symbol);
        let behind = probe.site_offset() + 6;
        assert_eq!(broken.with(behind, &[0xff, 0xe0]), refused, "{}", probe.symbol);
    }
}

/// Numbers that are no sizes and no offsets.
const LIES: [u64; 6] = [0, 1, 0x7fff_ffff, 0xffff_ffff, u64::MAX, u64::MAX / 8];

#[test]
fn a_table_that_lies_is_refused() {
    for pair in pairs().unwrap().iter().filter(|pair| ["bare", "stripped"].contains(&pair.form)) {
        let broken = Broken::of(&pair.web());
        // Where it is a section of its own.
        if pair.form == "bare" {
            for magic in [0_u32, 0xffff_fffb, 0xffff_fff2, u32::MAX] {
                let found = broken.with(broken.table, &magic.to_le_bytes());
                let (name, reason) = (Some("go"), Reason::Unreadable);
                assert_eq!(found, Resolution::Skipped { name, reason }, "{magic:x}");
            }
            // Every word of the header.
            for word in 1..9 {
                for lie in LIES {
                    let found = broken.with(broken.table + 8 * word, &lie.to_le_bytes());
                    // How many files there are, and where other tables lie, is not looked at.
                    let hooked = matches!(found, Resolution::Library { .. });
                    assert!(!hooked || [2, 3, 6, 7].contains(&word), "word {word}: {lie:x}");
                }
            }
        }
        assert!(matches!(resolve(&broken.file), Resolution::Library { name: "go", .. }));
    }
}

/// What is among the relocated data may begin like a table anywhere.
#[test]
fn beginnings_without_a_table_are_passed_by() {
    let all = pairs().unwrap();
    let pair = all.iter().find(|pair| pair.form == "stripped").unwrap();
    let broken = Broken::of(&pair.web());
    let header = [&0xffff_fff1_u32.to_le_bytes()[..], &[0, 0, 1, 8]].concat();
    let many = header.repeat(usize::try_from(broken.size).unwrap() / header.len());
    let begun = Instant::now();
    assert!(!matches!(broken.with(broken.table, &many), Resolution::Library { .. }));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // One, before the table.
    assert!(matches!(broken.with(broken.table, &header), Resolution::Library { .. }));
}

#[test]
fn whatever_is_in_a_file_nothing_breaks() {
    let mut random = Random(7);
    for pair in pairs().unwrap().iter().filter(|pair| ["bare", "stripped"].contains(&pair.form)) {
        let broken = Broken::of(&pair.web());
        let length = broken.file.metadata().unwrap().len();
        let places =
            [(0, 64), (broken.sections, 64 * 30), (broken.table, 128), (broken.table, broken.size)];
        for round in 0..160 {
            let (start, size) = places[round % places.len()];
            let size = size.min(length - start - 8);
            let bytes = random.below(u64::MAX).to_le_bytes();
            let count = 1 + usize::try_from(random.below(8)).unwrap();
            broken.with(start + random.below(size), &bytes[..count]);
        }
        let mut left = length;
        while left > 64 {
            left -= random.below(left / 4) + 1;
            broken.file.set_len(left).unwrap();
            resolve(&broken.file);
        }
    }
}
