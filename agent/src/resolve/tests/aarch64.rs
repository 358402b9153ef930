//! Files for AArch64: what would be probed there, held against readelf. None of it runs here.

use std::{fs, path::PathBuf};

use tlstap_tests::packages;

use super::machine::Functions;
use crate::resolve::{
    Method, Reason, Resolution,
    elf::{Elf, ElfError},
    families, marks,
    sites::Architecture,
    source::Source,
};

/// The libssl in a wheel.
fn libssl() -> PathBuf {
    let folder = packages::of_aarch64(&["psycopg2-binary==2.9.11"]).unwrap();
    let files = fs::read_dir(folder.join("psycopg2_binary.libs")).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    files.find(|file| file.file_name().unwrap().to_string_lossy().starts_with("libssl-")).unwrap()
}

#[test]
fn openssl_of_another_processor() {
    let path = libssl();
    let source = Source::new(fs::File::open(&path).unwrap());
    let elf = Elf::parse_of(&source, Architecture::Aarch64).unwrap();
    let (family, probes) = families::find(&elf).unwrap();
    assert_eq!(family.name, "openssl");
    let functions = Functions::of(&path);
    for probe in &probes {
        let known = functions.named.get(probe.symbol).unwrap();
        assert!(known.contains(&functions.address(probe.offset)), "{probe:?}");
        assert_eq!(probe.method, Method::Dynsym, "{probe:?}");
        // Instructions are 4 bytes long.
        assert_eq!(probe.site_offset() % 4, 0, "{probe:?}");
    }
    for wanted in ["SSL_read", "SSL_write", "SSL_read_ex", "SSL_write_ex", "SSL_free"] {
        assert!(probes.iter().any(|probe| probe.symbol == wanted), "no {wanted}");
    }
}

/// On this processor it is not probed, and named.
#[cfg(target_arch = "x86_64")]
#[test]
fn another_processor_is_named() {
    let source = Source::new(fs::File::open(libssl()).unwrap());
    assert_eq!(Elf::parse(&source).err(), Some(ElfError::Architecture));
    let named = Resolution::Skipped { name: Some("openssl"), reason: Reason::Architecture };
    assert_eq!(marks::foreign(&source), named);
}
