//! Control groups that a runtime leaves.

use std::{
    fs,
    path::{Path, PathBuf},
};

const ROOT: &str = "/sys/fs/cgroup";

/// Removes an empty control group at the top of every hierarchy, with empty ones in it.
pub(crate) fn remove(name: &str) {
    let hierarchies = fs::read_dir(ROOT).into_iter().flatten().flatten().map(|entry| entry.path());
    for hierarchy in hierarchies.chain([PathBuf::from(ROOT)]) {
        remove_tree(&hierarchy.join(name));
    }
}

fn remove_tree(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    // Fails where it is not, or is in use.
    let _ = fs::remove_dir(folder);
}
