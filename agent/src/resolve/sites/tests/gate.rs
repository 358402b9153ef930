//! What the planner comes to for the libraries that are probed: exact on any machine.

use std::{fs::File, path::Path};

use tempfile::TempDir;

use super::{
    super::{Class, Extent, plan},
    DATA,
    property::{SYSTEM, images},
};
use crate::resolve::{Probe, Resolution, ciphertext, elf::Elf, resolve, source::Source};

/// A program with OpenSSL linked in.
const NODE: &str = "/usr/bin/node";

/// The probes of a file, and whether all of them have to be cheap.
fn probes(path: &Path) -> (Vec<Probe>, bool) {
    let file = File::open(path).unwrap();
    let (found, all) = match resolve(&file) {
        Resolution::Library { name, probes } => (probes, matches!(name, "openssl" | "nss")),
        _ => (Vec::new(), true),
    };
    (found.into_iter().chain(ciphertext(&file)).collect(), all)
}

#[track_caller]
fn check(path: &Path) {
    let (probes, all) = probes(path);
    println!("{}: {}", path.display(), probes.len());
    for probe in probes {
        println!("    {}+{:#x}", probe.symbol, probe.site.offset);
        let cheap = OTHERS.iter().any(|&(_, name, cheap)| cheap && name == probe.symbol);
        if !all && !cheap {
            continue;
        }
        assert_eq!(probe.site.class, Class::Emulated, "{} of {path:?}", probe.symbol);
    }
}

#[test]
fn no_probe_is_stepped() {
    let made = TempDir::new().unwrap();
    for image in images(made.path()) {
        check(image.path());
    }
    if Path::new(NODE).is_file() {
        check(Path::new(NODE));
    }
}

/// Where the functions of other families that move bytes are probed, or would be. Some have no cheap
/// instruction at all (`PR_Read` is `mov rax, [rdi]; jmp [rax+16]`) or have moved their arguments before
/// (`gnutls_record_recv`), and what they call is called by others too, or not always.
const OTHERS: [(&str, &str, bool); 12] = [
    ("libgnutls.so.30", "gnutls_record_send", true),
    ("libgnutls.so.30", "gnutls_record_send2", true),
    ("libgnutls.so.30", "gnutls_record_recv", false),
    ("libgnutls.so.30", "gnutls_record_recv_seq", false),
    ("libmbedtls.so.14", "mbedtls_ssl_write", true),
    ("libmbedtls.so.14", "mbedtls_ssl_read", true),
    ("libwolfssl.so.35", "wolfSSL_write", true),
    ("libwolfssl.so.35", "wolfSSL_read", true),
    ("libnspr4.so", "PR_Read", false),
    ("libnspr4.so", "PR_Write", false),
    ("libnspr4.so", "PR_Recv", false),
    ("libnspr4.so", "PR_Send", false),
];

#[test]
fn other_families_are_cheap_to_send_with() {
    for (library, name, cheap) in OTHERS {
        let source = Source::new(File::open(Path::new(SYSTEM).join(library)).unwrap());
        let elf = Elf::parse(&source).unwrap();
        let symbol = elf.functions().find(|symbol| symbol.name == name.as_bytes()).unwrap();
        let site = plan(&elf, Extent { address: symbol.address, size: symbol.size }, DATA);
        println!("{library}: {name}: {site:x?}");
        // Those that have none may have one in another build.
        assert!(site.class == Class::Emulated || !cheap, "{name}: {site:?}");
    }
}
