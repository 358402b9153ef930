//! Versions of libraries, found after they were attached.
//!
//! A libssl does not carry its version, the libcrypto that belongs to it does (its *companion*): it
//! lies beside it, or a process that uses the one maps the other, a little later.

use std::{collections::HashMap, path::Path};

use crate::{
    discover::{self, Mapping},
    enrich::Libraries,
    resolve::{self, RealFile, Version},
};

/// How often a version is looked for: each time with another process that uses the library.
const TRIES: u8 = 3;

/// Libraries whose version is not known yet, and how often it was looked for.
#[derive(Debug, Default)]
pub(super) struct Versions {
    wanted: HashMap<u32, Wanted>,
}

#[derive(Debug)]
struct Wanted {
    family: &'static str,
    tries: u8,
}

impl Versions {
    /// Adds a library.
    pub(super) fn want(&mut self, library: u32, family: &'static str) {
        self.wanted.insert(library, Wanted { family, tries: 0 });
    }

    /// Forgets a library.
    pub(super) fn forget(&mut self, library: u32) {
        self.wanted.remove(&library);
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
        let Some(Wanted { family, tries }) = self.wanted.get_mut(&library) else { return };
        *tries += 1;
        let spent = *tries == TRIES;
        let found = of_file_or_process(proc, pid, real, family);
        if spent {
            self.wanted.remove(&library);
        }
        self.settle(libraries, library, found);
    }

    /// Looks for the version of a library that lies in a root, in it or in its companion beside it.
    pub(super) fn find_beside(
        &mut self,
        proc: &Path,
        process: &Path,
        root: &Path,
        path: &Path,
        libraries: &Libraries,
        library: u32,
    ) {
        let Some(&Wanted { family, .. }) = self.wanted.get(&library) else { return };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let found = resolve::version_beside(family, &name).and_then(|beside| {
            let beside = path.with_file_name(beside);
            let (_, files) = resolve::open_in_root(proc, process, root, &beside).ok()?;
            resolve::version(&files.first()?.file, family)
        });
        self.settle(libraries, library, found);
    }

    /// Whether a mapping may tell a version that is wanted.
    pub(super) fn tells(&self, mapping: &Mapping) -> bool {
        self.wanted.values().any(|wanted| is_companion(mapping, wanted.family))
    }

    /// Takes the version of what a process uses from a companion that it has mapped.
    pub(super) fn learn(
        &mut self,
        proc: &Path,
        libraries: &Libraries,
        used: &[u32],
        pid: u32,
        mapping: &Mapping,
    ) {
        for library in used {
            if let Some(&Wanted { family, .. }) = self.wanted.get(library)
                && is_companion(mapping, family)
            {
                self.settle(libraries, *library, of_mapping(proc, pid, mapping, family));
            }
        }
    }

    fn settle(&mut self, libraries: &Libraries, library: u32, found: Option<Version>) {
        if let Some((name, version)) = found {
            libraries.set_version(library, name, &version);
            self.wanted.remove(&library);
        }
    }
}

/// The version that a file tells, or its companion that the process maps, if it does.
pub(super) fn of_file_or_process(
    proc: &Path,
    pid: u32,
    real: &RealFile,
    family: &str,
) -> Option<Version> {
    resolve::version(&real.file, family).or_else(|| of_process(proc, pid, family))
}

fn of_process(proc: &Path, pid: u32, family: &str) -> Option<Version> {
    resolve::companion(family)?;
    let mappings = discover::mappings(proc, pid).ok()?;
    mappings
        .iter()
        .filter(|mapping| is_companion(mapping, family))
        .find_map(|mapping| of_mapping(proc, pid, mapping, family))
}

fn is_companion(mapping: &Mapping, family: &str) -> bool {
    let name = mapping.path.as_container_path().file_name().unwrap_or_default();
    resolve::companion(family).is_some_and(|begin| name.to_string_lossy().starts_with(begin))
}

fn of_mapping(proc: &Path, pid: u32, mapping: &Mapping, family: &str) -> Option<Version> {
    let files = resolve::open(proc, pid, mapping).ok()?;
    resolve::version(&files.first()?.file, family)
}
