//! Files that have no name any more, but are open in a process.

use std::{
    fs,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use rustix::fs::Mode;

use super::{
    Entry,
    live::shown,
    node::{NAMED, is_same, without_deleted},
    table::Table,
};
use crate::discover;

/// The file that had this path until it was removed, and is open in a process of the mount namespace.
pub(super) fn find(
    proc: &Path,
    process: &Path,
    table: &Table,
    inside: &Path,
) -> Result<Option<Entry>> {
    let namespace = |process: &Path| fs::read_link(process.join("ns/mnt")).ok();
    let others = discover::processes(proc)?.into_iter().map(|pid| proc.join(pid.to_string()));
    let own = namespace(process);
    let others =
        others.filter(|other| other != process && own.is_some() && namespace(other) == own);
    let mut found: Vec<Entry> = Vec::new();
    for process in [process.to_owned()].into_iter().chain(others) {
        for entry in opened(&process, table, inside) {
            if !found.iter().any(|known| is_same(&known.stat, &entry.stat)) {
                found.push(entry);
            }
        }
    }
    if found.len() > 1 {
        let paths = found.iter().filter_map(|entry| entry.path.as_deref()).map(shown);
        let paths: Vec<_> = paths.collect();
        bail!("several removed files had the path {}: {}", shown(inside), paths.join(", "));
    }
    Ok(found.pop())
}

/// What a process has open that had this path.
fn opened(process: &Path, table: &Table, inside: &Path) -> Vec<Entry> {
    let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let entries = descriptors.filter_map(|descriptor| entry(descriptor.path(), table, inside));
    entries.collect()
}

fn entry(descriptor: PathBuf, table: &Table, inside: &Path) -> Option<Entry> {
    let led = fs::read_link(&descriptor).ok()?;
    let was = table.inside(without_deleted(&led)?)?;
    if was != inside {
        return None;
    }
    let file: OwnedFd = rustix::fs::open(&descriptor, NAMED, Mode::empty()).ok()?;
    // A process may have been given files of the host, which can have had the same path there.
    table.mount(&file)?;
    let stat = rustix::fs::fstat(&file).ok()?;
    (stat.st_nlink == 0).then(|| Entry {
        inside: inside.to_owned(),
        file,
        stat,
        pieces: Vec::new(),
        path: Some(descriptor),
    })
}
