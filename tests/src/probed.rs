//! Where the code of a process is not that of its file: there the kernel has put probes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{deadline, event::number, node::Node};

/// Attaching takes some milliseconds, on a machine that has time for it.
const ATTACHED: Duration = Duration::from_secs(20);

/// How many instructions of a program are to be probed, by device and inode.
static KNOWN: Mutex<BTreeMap<(u64, u64), usize>> = Mutex::new(BTreeMap::new());

/// Waits until all is probed that `tlstap list` tells of a process, in its own file: a program of which
/// nothing was known before it ran is probed a little later.
pub fn wait(node: &Node, pid: u32) -> Result<()> {
    let link = format!("/proc/{pid}/exe");
    let (program, file) = (fs::read_link(&link)?, fs::metadata(&link)?);
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let before = known().get(&(file.dev(), file.ino())).copied();
    let sites = before.map_or_else(|| listed(node, pid), Ok)?;
    let name = program.file_name().context("no name")?.to_string_lossy().into_owned();
    known().insert((file.dev(), file.ino()), sites);
    deadline::until("all probes to be in place", ATTACHED, || {
        Ok((places(pid, &name)? == sites).then_some(()))
    })
}

/// Waits until a mapped file of this name is probed, and no more instructions of it come to be: not all that
/// `tlstap list` tells of a library are, which depends on how sockets are found.
pub fn wait_in(pid: u32, name: &str) -> Result<()> {
    const CALM: Duration = Duration::from_millis(500);
    let mut last = (0, Instant::now());
    deadline::until("probes to be in place", ATTACHED, || {
        let now = places(pid, name)?;
        if now != last.0 {
            last = (now, Instant::now());
        }
        Ok((now > 0 && last.1.elapsed() > CALM).then_some(()))
    })
}

/// How many the list tells of.
fn listed(node: &Node, pid: u32) -> Result<usize> {
    let rows = node.tlstap(&["list", "-o", "json"])?.output()?.rows()?;
    let row = rows.iter().find(|row| number(row, "/process/pid") == Some(pid.into()));
    probes(row.context("not in the list")?)
}

/// How many instructions a row of the list names.
fn probes(row: &Value) -> Result<usize> {
    let probes = row.pointer("/probes").and_then(Value::as_array).context("no probes")?;
    let sites = probes.iter().filter_map(|probe| probe.pointer("/sites")?.as_array());
    Ok(sites.map(Vec::len).sum())
}

/// How many instructions of a mapped file of this name are probed in a process.
///
/// The kernel puts one byte in their place (`UPROBE_SWBP_INSN`), whatever holds the probe, and
/// however many there are on the same instruction.
pub fn places(pid: u32, name: &str) -> Result<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mapped = |line: &&str| line.contains(" r-xp ") && line.ends_with(&format!("/{name}"));
    let mut mappings = maps.lines().filter(mapped).peekable();
    ensure!(mappings.peek().is_some(), "process {pid} has not mapped {name}");
    mappings.map(|line| differing(pid, line)).sum()
}

/// How many bytes of all the code that a process has mapped are not those of their files.
pub fn changed(pid: u32) -> Result<usize> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let code = maps.lines().filter(|line| line.contains(" r-xp ") && line.contains(" /"));
    code.map(|line| differing(pid, line)).sum()
}

/// Bytes of a mapping that are not those of its file.
fn differing(pid: u32, line: &str) -> Result<usize> {
    let mut fields = line.split_whitespace();
    let range = fields.next().context("no addresses")?;
    let offset = u64::from_str_radix(fields.nth(1).context("no offset")?, 16)?;
    let (start, end) = range.split_once('-').context("no range")?;
    let (start, end) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?);
    let mut code = vec![0; usize::try_from(end - start)?];
    File::open(format!("/proc/{pid}/mem"))?.read_exact_at(&mut code, start)?;
    let mut file = Vec::new();
    // Named without the zeroes that low addresses have in the list.
    File::open(format!("/proc/{pid}/map_files/{start:x}-{end:x}"))?.read_to_end(&mut file)?;
    let file = file.get(usize::try_from(offset)?..).context("the file is shorter")?;
    Ok(code.iter().zip(file).filter(|(code, file)| code != file).count())
}
