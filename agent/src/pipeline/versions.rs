//! Versions of libraries, found after they were attached.
//!
//! libssl does not carry its version, the libcrypto that belongs to it does: it lies beside it, or
//! a process that uses the one maps the other, a little later.

use std::{collections::HashMap, path::Path};

use crate::{
    discover::{self, Mapping},
    enrich::Libraries,
    resolve::{self, RealFile},
};

/// How often a version is looked for: each time with another process that uses the library.
const TRIES: u8 = 3;

/// Libraries whose version is not known yet, and how often it was looked for.
#[derive(Debug, Default)]
pub(super) struct Versions {
    wanted: HashMap<u32, u8>,
}

impl Versions {
    /// Adds a library.
    pub(super) fn want(&mut self, library: u32) {
        self.wanted.insert(library, 0);
    }

    /// Looks for the version of a library that a process uses, if it is not known yet.
    pub(super) fn find(
        &mut self,
        proc: &Path,
        libraries: &Libraries,
        library: u32,
        pid: u32,
        real: &RealFile,
    ) {
        let Some(tries) = self.wanted.get_mut(&library) else { return };
        *tries += 1;
        let spent = *tries == TRIES;
        let found = resolve::version(&real.file).or_else(|| of_process(proc, pid));
        if spent {
            self.wanted.remove(&library);
        }
        self.settle(libraries, library, found);
    }

    /// Looks for the version in the libcrypto that lies beside a libssl in a root.
    pub(super) fn find_beside(
        &mut self,
        proc: &Path,
        process: &Path,
        root: &Path,
        path: &Path,
        libraries: &Libraries,
        library: u32,
    ) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let beside = path.with_file_name(name.replace("libssl", "libcrypto"));
        let found = resolve::open_in_root(proc, process, root, &beside)
            .ok()
            .and_then(|(_, files)| resolve::version(&files.first()?.file));
        self.settle(libraries, library, found);
    }

    /// Whether a mapping may tell a version that is wanted.
    pub(super) fn tells(&self, mapping: &Mapping) -> bool {
        !self.wanted.is_empty() && is_libcrypto(mapping)
    }

    /// Takes the version of what a process uses from a libcrypto that it has mapped.
    pub(super) fn learn(
        &mut self,
        proc: &Path,
        libraries: &Libraries,
        used: &[u32],
        pid: u32,
        mapping: &Mapping,
    ) {
        for library in used {
            if self.wanted.contains_key(library) {
                self.settle(libraries, *library, of_mapping(proc, pid, mapping));
            }
        }
    }

    fn settle(
        &mut self,
        libraries: &Libraries,
        library: u32,
        found: Option<(&'static str, String)>,
    ) {
        if let Some((name, version)) = found {
            libraries.set_version(library, name, &version);
            self.wanted.remove(&library);
        }
    }
}

/// The version in the libcrypto that a process maps, if it does.
pub(super) fn of_process(proc: &Path, pid: u32) -> Option<(&'static str, String)> {
    let mappings = discover::mappings(proc, pid).ok()?;
    mappings
        .iter()
        .filter(|mapping| is_libcrypto(mapping))
        .find_map(|mapping| of_mapping(proc, pid, mapping))
}

fn is_libcrypto(mapping: &Mapping) -> bool {
    let name = mapping.path.as_container_path().file_name().unwrap_or_default();
    name.to_string_lossy().starts_with("libcrypto")
}

fn of_mapping(proc: &Path, pid: u32, mapping: &Mapping) -> Option<(&'static str, String)> {
    let files = resolve::open(proc, pid, mapping).ok()?;
    resolve::version(&files.first()?.file)
}
