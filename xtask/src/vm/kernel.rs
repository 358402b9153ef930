//! Debian's kernels: fetched once, unpacked beside each other, never installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::command;

/// The newest kernel of a version, or of what a version begins with.
pub(super) fn image(folder: &Path, version: &str) -> Result<PathBuf> {
    let package = newest(version)?;
    let unpacked = folder.join(&package);
    if let Some(image) = found(&unpacked) {
        return Ok(image);
    }
    eprintln!("xtask: fetching {package}");
    let fetching = folder.join("fetching");
    fs::create_dir_all(&fetching).context("failed to make a folder for kernels")?;
    command::output(
        Command::new("apt-get").args(["-qq", "download", &package]).current_dir(&fetching),
    )?;
    for entry in fs::read_dir(&fetching)? {
        let archive = entry?.path();
        command::output(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&unpacked))?;
    }
    fs::remove_dir_all(&fetching)?;
    found(&unpacked).with_context(|| format!("{package} has no kernel in it"))
}

fn found(unpacked: &Path) -> Option<PathBuf> {
    let files = fs::read_dir(unpacked.join("boot")).ok()?;
    let mut files = files.filter_map(|file| Some(file.ok()?.path()));
    files.find(|file| file.to_string_lossy().contains("/vmlinuz-"))
}

/// The name of the newest package.
fn newest(version: &str) -> Result<String> {
    if let Some(package) = search(version)? {
        return Ok(package);
    }
    // Package lists may be absent.
    command::output(Command::new("apt-get").args(["-qq", "update"]))?;
    search(version)?.with_context(|| format!("no kernel {version} among Debian's for clouds"))
}

fn search(version: &str) -> Result<Option<String>> {
    let names = command::output(Command::new("apt-cache").args([
        "search",
        "--names-only",
        "^linux-image-.*-cloud-amd64$",
    ]))?;
    let names = names.lines().filter_map(|line| line.split_whitespace().next());
    Ok(names
        .filter(|name| is_of(name, version))
        .max_by_key(|name| numbers(name))
        .map(str::to_owned))
}

/// Whether a package is of a version, or of one that goes on behind it: `6.1` is not `6.12`, and both
/// have packages that name no version but the newest.
fn is_of(package: &str, version: &str) -> bool {
    let rest = package.strip_prefix("linux-image-").and_then(|rest| rest.strip_prefix(version));
    rest.is_some_and(|rest| {
        rest.starts_with(['.', '+']) || numbers(version).len() > 2 && rest.starts_with('-')
    })
}

fn numbers(text: &str) -> Vec<u64> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
}
