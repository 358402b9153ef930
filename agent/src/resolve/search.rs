//! TLS libraries that lie in a root, before any process has mapped them.

use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Dir, OFlags};

use super::{
    families::{FAMILIES, Family},
    file::open_beneath,
};

/// Where dynamic linkers look (ld.so(8), and musl's /lib, /usr/local/lib, /usr/lib).
const DIRECTORIES: [&str; 10] = [
    "lib",
    "lib64",
    "usr/lib",
    "usr/lib64",
    "usr/local/lib",
    "usr/local/lib64",
    "usr/local/ssl/lib",
    "opt/openssl/lib",
    "lib/ARCH-linux-gnu",
    "usr/lib/ARCH-linux-gnu",
];

/// The most entries of one directory that are looked at.
const MAX_ENTRIES: usize = 20_000;

/// The most libraries of one root: each may cost what a file can cost. Others are found when they are
/// mapped.
const MAX_LIBRARIES: usize = 256;

/// The paths inside `root`, a directory of the host, of files that bear the name of a TLS
/// library that can be probed. Links among them may lead to the same file.
pub fn libraries(root: &Path) -> Vec<PathBuf> {
    DIRECTORIES
        .iter()
        .map(|dir| PathBuf::from(dir.replace("ARCH", std::env::consts::ARCH)))
        .flat_map(|dir| in_directory(root, &dir))
        .take(MAX_LIBRARIES)
        .collect()
}

fn in_directory(root: &Path, dir: &Path) -> Vec<PathBuf> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Some(entries) = open_beneath(root, dir, flags).ok().and_then(|fd| Dir::new(fd).ok()) else {
        return Vec::new();
    };
    entries
        .take(MAX_ENTRIES)
        .flatten()
        .filter(|entry| is_library(entry.file_name().to_bytes()))
        .map(|entry| dir.join(std::ffi::OsStr::from_bytes(entry.file_name().to_bytes())))
        .collect()
}

/// Whether a file bears the name of a TLS library that can be probed.
pub fn is_named_like_library(path: &Path) -> bool {
    path.file_name().is_some_and(|name| is_library(name.as_bytes()))
}

/// `libssl.so.3`, `libssl-8bd944e8.so.1.1`.
fn is_library(name: &[u8]) -> bool {
    let known =
        |family: &&Family| family.libraries.iter().any(|begin| name.starts_with(begin.as_bytes()));
    FAMILIES.iter().any(known) && name.windows(3).any(|part| part == b".so")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn finds_by_name_and_stays_inside() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("libssl.so.9"), "").unwrap();
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/lib")).unwrap();
        fs::write(root.path().join("usr/lib/libssl.so.3"), "").unwrap();
        fs::write(root.path().join("usr/lib/libssl3.txt"), "").unwrap();
        fs::write(root.path().join("usr/lib/libc.so.6"), "").unwrap();
        // An absolute link is taken inside the root, where its target does not exist.
        symlink(outside.path(), root.path().join("lib64")).unwrap();
        symlink("/usr/lib", root.path().join("lib")).unwrap();
        let found = libraries(root.path());
        assert_eq!(found, [Path::new("lib/libssl.so.3"), Path::new("usr/lib/libssl.so.3")]);
    }
}
