//! Debug files: what was stripped from a file, in a file of its own, under its build-id or under the
//! name that `.gnu_debuglink` gives (Separate Debug Files in the manual of GDB).

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

use super::{folder, of_tables};
use crate::resolve::{Method, elf::Elf, file::open_file_beneath, source::Source, symbols::Symbols};

/// Where debug files lie.
const DEBUG: &str = "usr/lib/debug";

/// Most bytes of a file whose checksum is looked at.
const MAX_SUMMED: u64 = 256 << 20;
/// Most bytes of `.gnu_debuglink`: a file's name and a checksum.
const MAX_LINK: u64 = 264;

/// The functions that a file's debug file in its own root names. `path` is the file's, in there.
pub(super) fn symbols(source: &Source, elf: &Elf<'_>, root: &Path, path: &Path) -> Option<Symbols> {
    let folder = folder(path);
    let folders = [folder.to_owned(), folder.join(".debug"), Path::new(DEBUG).join(folder)];
    by_build_id(source, elf, root).or_else(|| by_link(source, elf, root, &folders))
}

/// Likewise in the host's root, whose other files are none of a container's business: it chooses both
/// its file's path and the name that the file gives.
pub(super) fn symbols_of_host(
    source: &Source,
    elf: &Elf<'_>,
    root: &Path,
    path: &Path,
) -> Option<Symbols> {
    let folders = [Path::new(DEBUG).join(folder(path))];
    by_build_id(source, elf, root).or_else(|| by_link(source, elf, root, &folders))
}

fn by_build_id(source: &Source, elf: &Elf<'_>, root: &Path) -> Option<Symbols> {
    let id = elf.build_id()?.to_string();
    let (first, rest) = id.split_at_checked(2)?;
    let debug =
        open(source, root, &PathBuf::from(format!("{DEBUG}/.build-id/{first}/{rest}.debug")))?;
    of_build(elf, &debug)
}

fn by_link(source: &Source, elf: &Elf<'_>, root: &Path, folders: &[PathBuf]) -> Option<Symbols> {
    let link = Link::of(source, elf)?;
    folders.iter().find_map(|folder| {
        let debug = open(source, root, &folder.join(&link.name))?;
        (checksum(&debug)? == link.checksum).then(|| of_build(elf, &debug))?
    })
}

fn open(source: &Source, root: &Path, path: &Path) -> Option<Source> {
    let fd = open_file_beneath(root, path, OFlags::empty()).ok()?;
    Some(Source::beside(File::from(fd), source))
}

/// The functions that a debug file names, if it is of the same build as the file.
fn of_build(elf: &Elf<'_>, debug: &Source) -> Option<Symbols> {
    let inner = Elf::parse(debug).ok()?;
    (inner.noted_build_id() == elf.build_id()).then(|| of_tables(debug, &inner, Method::DebugFile))
}

/// What `.gnu_debuglink` says.
struct Link {
    name: String,
    checksum: u32,
}

impl Link {
    fn of(source: &Source, elf: &Elf<'_>) -> Option<Self> {
        let range = elf.section_range(b".gnu_debuglink")?;
        let length = range.end.checked_sub(range.start).filter(|&length| length <= MAX_LINK)?;
        let mut link = vec![0; usize::try_from(length).ok()?];
        source.fill(&mut link, range.start).ok()?;
        let name = link.split(|&byte| byte == 0).next()?;
        let name = std::str::from_utf8(name).ok()?;
        let is_name = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        let checksum = u32::from_le_bytes(*link.last_chunk()?);
        is_name.then(|| Self { name: name.to_owned(), checksum })
    }
}

/// The CRC-32 of a file.
fn checksum(file: &Source) -> Option<u32> {
    if file.len() > MAX_SUMMED {
        return None;
    }
    let mut sum = crc32fast::Hasher::new();
    let all = file.windows(0..file.len(), 0, |_, window| {
        sum.update(window);
        None::<()>
    });
    all.is_ok().then(|| sum.finalize())
}
