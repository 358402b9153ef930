//! What the planner comes to for the libraries that are probed: exact on any machine.

use std::{fs::File, path::Path};

use tempfile::TempDir;

use super::{super::Class, property::images};
use crate::resolve::{Probe, Resolution, ciphertext, resolve};

/// A program with OpenSSL linked in.
const NODE: &str = "/usr/bin/node";

fn probes(path: &Path) -> Vec<Probe> {
    let file = File::open(path).unwrap();
    let found = match resolve(&file) {
        Resolution::Library { probes, .. } => probes,
        _ => Vec::new(),
    };
    found.into_iter().chain(ciphertext(&file)).collect()
}

#[track_caller]
fn check(path: &Path) {
    let probes = probes(path);
    println!("{}: {}", path.display(), probes.len());
    for probe in probes {
        println!("    {}+{:#x}", probe.symbol, probe.site.offset);
        // A library whose functions have no cheap site would be named here.
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
