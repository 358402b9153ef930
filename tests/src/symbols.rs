//! What distributions do with the symbols of programs: pack them into the file, put them beside it,
//! or leave them out.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};

use crate::tool;

/// Runs a tool with paths.
fn run(name: &str, flags: &[&str], paths: &[&Path]) -> Result<String> {
    let mut command = tool::command(name, flags)?;
    command.args(paths);
    tool::run(command)
}

/// Strips a copy of a program.
pub fn strip(whole: &Path, stripped: &Path) -> Result<()> {
    run("strip", &["-o"], &[stripped, whole]).map(drop)
}

/// Makes a file of what a program is stripped of.
pub fn debug_file(whole: &Path, debug: &Path) -> Result<()> {
    run("objcopy", &["--only-keep-debug"], &[whole, debug]).map(drop)
}

/// Gives a stripped program the name and the checksum of its debug file.
pub fn link(stripped: &Path, debug: &Path) -> Result<()> {
    let link = format!("--add-gnu-debuglink={}", debug.display());
    run("objcopy", &[&link], &[stripped]).map(drop)
}

/// Packs the functions of a program into a stripped copy, as `find-debuginfo` of debugedit does.
pub fn pack(whole: &Path, stripped: &Path) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [debug, keep, mini] = ["debug", "keep", "mini"].map(|name| folder.path().join(name));
    debug_file(whole, &debug)?;
    let exported: BTreeSet<_> = functions(whole, &["--dynamic"])?.into_keys().collect();
    let names: Vec<_> = functions(whole, &[])?.into_keys().collect();
    let names: Vec<_> = names.into_iter().filter(|name| !exported.contains(name)).collect();
    fs::write(&keep, names.join("\n"))?;
    let keep = format!("--keep-symbols={}", keep.display());
    run("objcopy", &["-S", "--remove-section=.comment", &keep], &[&debug, &mini])?;
    run("xz", &[], &[&mini])?;
    strip(whole, stripped)?;
    let section = format!("--add-section=.gnu_debugdata={}.xz", mini.display());
    run("objcopy", &[&section], &[stripped]).map(drop)
}

/// The functions of a program that it defines, and their addresses.
pub fn functions(program: &Path, flags: &[&str]) -> Result<BTreeMap<String, u64>> {
    let flags = [&["--defined-only", "--format=posix"], flags].concat();
    let mut found = BTreeMap::new();
    for line in run("nm", &flags, &[program])?.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if let [name, "T" | "t", address, ..] = words[..] {
            found.insert(name.to_owned(), u64::from_str_radix(address, 16)?);
        }
    }
    Ok(found)
}

/// The build-id of a program, in hexadecimal digits.
pub fn build_id(program: &Path) -> Result<String> {
    let notes = run("readelf", &["--notes"], &[program])?;
    let line = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: "));
    Ok(line.context("no build-id")?.to_owned())
}

/// Where a debug file lies below a root.
pub fn place(build_id: &str) -> String {
    let (first, rest) = build_id.split_at(2);
    format!("usr/lib/debug/.build-id/{first}/{rest}.debug")
}
