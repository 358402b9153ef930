//! A file of a container: as the bytes are, or a real library with some bytes changed.

use std::{
    cell::RefCell,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    sync::OnceLock,
};

use object::elf::{SHT_NOTE, SHT_PROGBITS};
use rustix::fs::{MemfdFlags, memfd_create};
use tlstap::resolve::{self, Resolution, Resolver};

use crate::{
    fields,
    made::{Made, TEXT},
};

/// Real libraries, of which the machine may have some.
const REAL: [&str; 5] =
    ["libssl.so.3", "libgnutls.so.30", "libssl3.so", "libnspr4.so", "libmbedtls.so.14"];
/// Whose versions are looked for.
const FAMILIES: [&str; 9] =
    ["openssl", "gnutls", "nss", "mbedtls", "wolfssl", "s2n", "go", "rustls", "no such family"];

thread_local! {
    static FILE: RefCell<File> = RefCell::new(in_memory());
}

/// The first byte says which file is changed: 0 for none. Then a file, or in parts what is changed: at which
/// place (four bytes), and what is there then.
pub(super) fn run(data: &[u8]) {
    let Some((&which, rest)) = data.split_first() else { return };
    FILE.with_borrow(|file| match real().get(usize::from(which).wrapping_sub(1)) {
        Some(library) => look_changed(file, library, rest),
        None => {
            write(file, rest);
            look(file);
        }
    });
}

fn look_changed(file: &File, library: &[u8], changes: &[u8]) {
    write(file, library);
    for change in fields::parts(changes) {
        let Some((place, bytes)) = change.split_first_chunk() else { continue };
        let place = u64::from(u32::from_le_bytes(*place)) % library.len().max(1) as u64;
        file.write_all_at(bytes, place).expect("memory");
    }
    look(file);
}

/// All that the agent asks a file.
fn look(file: &File) {
    let length = file.metadata().expect("a file").len();
    if let Resolution::Library { probes, .. } = Resolver::default().resolve(file, None) {
        assert!(!probes.is_empty(), "a library without probes");
        for probe in probes {
            assert!(probe.site_offset() < length, "{probe:?} is not in the file");
            let _ = resolve::look(file, &probe);
        }
    }
    resolve::ciphertext(file);
    for family in FAMILIES {
        resolve::version(file, family);
    }
}

fn in_memory() -> File {
    File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("a file in memory"))
}

fn write(file: &File, bytes: &[u8]) {
    file.set_len(bytes.len() as u64).expect("memory");
    file.write_all_at(bytes, 0).expect("memory");
}

fn real() -> &'static [Vec<u8>] {
    static ALL: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let folder = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
        REAL.iter().filter_map(|name| fs::read(format!("{folder}/{name}")).ok()).collect()
    })
}

/// Small files of every kind of table, and the real ones with their headers and some code rewritten as they are.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> =
        made().into_iter().map(|file| [&[0], &whole(&file)[..]].concat()).collect();
    for (number, library) in real().iter().enumerate() {
        let which = u8::try_from(number + 1).expect("few libraries");
        let places = [0, library.len() / 2, library.len() - library.len().min(1024)];
        let changes = places.map(|place| {
            let offset = u32::try_from(place).expect("a small library").to_le_bytes();
            let bytes = library.get(place..).unwrap_or_default();
            [&offset[..], bytes.get(..256).unwrap_or(bytes)].concat()
        });
        seeds.push([&[which][..], &fields::join(changes)].concat());
    }
    seeds
}

fn made() -> Vec<File> {
    let functions = |names: &[&'static str], dynamic| {
        let mut made = Made::new(0x400);
        made.functions(dynamic, names.iter().copied().zip((TEXT..).step_by(16)));
        made.finish([7; 20])
    };
    let with = |name, kind, contents: &[u8]| {
        let mut made = Made::new(0x400);
        made.add(name, kind, contents, 0);
        made.finish([7; 20])
    };
    vec![
        functions(&["SSL_read", "SSL_write", "SSL_free"], true),
        functions(&["SSL_read_ex", "SSL_write_ex", "BIO_write"], false),
        functions(&["gnutls_record_recv", "gnutls_record_send", "gnutls_deinit"], true),
        functions(&["PR_Read", "PR_Write", "PR_Close", "SSL_ImportFD"], true),
        functions(&["mbedtls_ssl_read", "mbedtls_ssl_write", "wolfSSL_read", "s2n_recv"], true),
        with(".rodata", SHT_PROGBITS.0, b"OpenSSL 3.0.17 1 Jul 2025\0ssl/ssl_lib.c\0SSL_read\0"),
        with(".rodata", SHT_PROGBITS.0, b"../ssl/ssl_lib.cc\0TLS 1.3, server CertificateVerify\0"),
        with(
            ".go.buildinfo",
            SHT_PROGBITS.0,
            b"\xff Go buildinf:\x08\x02\0\0\0\0\0\0\0\0\x08go1.27.1\0",
        ),
        with(".gopclntab", SHT_PROGBITS.0, b"\xf1\xff\xff\xff\0\0\x01\x08\x01\0\0\0\0\0\0\0"),
        with(
            ".gnu_debugdata",
            SHT_PROGBITS.0,
            b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4F\x02\0!\x01\x16\0\0\0",
        ),
        with(".gnu_debuglink", SHT_PROGBITS.0, b"libssl.debug\0\0\0\0\x01\x02\x03\x04"),
        with(".note.go.buildid", SHT_NOTE.0, b"\x04\0\0\0\x04\0\0\0\x04\0\0\0Go\0\0id/x"),
        with(
            ".eh_frame_hdr",
            SHT_PROGBITS.0,
            b"\x01\x1b\x03\x3b\x10\0\0\0\x01\0\0\0\0\x10\0\0\0\0\0\0",
        ),
    ]
}

fn whole(file: &File) -> Vec<u8> {
    let length = file.metadata().expect("a file").len();
    let mut bytes = vec![0; usize::try_from(length).expect("a small file")];
    file.read_exact_at(&mut bytes, 0).expect("a file");
    bytes
}
