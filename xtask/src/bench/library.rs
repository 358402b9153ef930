//! Copies of the TLS library, so that a probe hits only who is meant to be hit.
//!
//! A tracer of the whole node would probe the clients too. So theirs is a copy whose code is mapped
//! writable: the kernel puts uprobes on no such mapping (`valid_vma`, kernel/events/uprobes.c).

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::command;

/// How long it may take until probes are gone: some 0.1 s each.
const DETACHED: Duration = Duration::from_secs(30);

/// How the code of a copy is mapped.
#[derive(Clone, Copy)]
pub(super) enum Mapping {
    Plain,
    /// Out of reach of uprobes.
    Writable,
}

const NAMES: [&str; 2] = ["libssl.so.3", "libcrypto.so.3"];

/// Copies the libraries that a program is linked to into a new folder.
pub(super) fn copies(program: &Path, folder: &Path, mapping: Mapping) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    let needed = command::output(Command::new("ldd").arg(program))?;
    for name in NAMES {
        let line = needed.lines().find(|line| line.trim_start().starts_with(name));
        let path = line.and_then(|line| line.split_whitespace().nth(2));
        let path = path.with_context(|| format!("{} has no {name}", program.display()))?;
        let mut bytes = fs::read(path).with_context(|| format!("failed to read {path}"))?;
        if let Mapping::Writable = mapping {
            make_writable(&mut bytes).with_context(|| format!("{path} is no 64-bit ELF file"))?;
        }
        fs::write(folder.join(name), bytes).context("failed to copy a library")?;
    }
    Ok(())
}

/// Where the functions begin that all reads and all writes go through, as offsets in the file.
pub(super) struct Sites {
    pub(super) read: u64,
    pub(super) write: u64,
}

impl Sites {
    pub(super) fn of(library: &Path) -> Result<Self> {
        let bytes = fs::read(library).context("failed to read the library's copy")?;
        let offset = |outer: &str| {
            let address = first_call(library, outer)?;
            file_offset(&bytes, address).context("a function outside the file")
        };
        Ok(Self { read: offset("SSL_read_ex")?, write: offset("SSL_write_ex")? })
    }
}

/// The address that an exported function calls first.
fn first_call(library: &Path, function: &str) -> Result<u64> {
    let mut objdump = Command::new("objdump");
    objdump.args(["-d", "--no-show-raw-insn", &format!("--disassemble={function}")]).arg(library);
    let text = command::output(&mut objdump)?;
    let mut words = text.lines().filter_map(|line| line.split_once("call "));
    let target = words.next().and_then(|(_, target)| target.split_whitespace().next());
    let target = target.with_context(|| format!("{function} calls nothing"))?;
    u64::from_str_radix(target, 16).with_context(|| format!("{target} is no address"))
}

/// A loadable segment of an ELF file.
struct Segment {
    /// Where its flags are in the file.
    flags_at: usize,
    executable: bool,
    offset: u64,
    address: u64,
    size: u64,
}

fn segments(bytes: &[u8]) -> Option<Vec<Segment>> {
    let word = |at: usize| Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
    let half = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    let short = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let table = usize::try_from(word(32)?).ok()?;
    let (size, count) = (usize::from(short(54)?), usize::from(short(56)?));
    let mut found = Vec::new();
    for at in (0..count).map(|number| table + number * size) {
        const PT_LOAD: u32 = 1;
        const PF_X: u32 = 1;
        if half(at)? == PT_LOAD {
            found.push(Segment {
                flags_at: at + 4,
                executable: half(at + 4)? & PF_X != 0,
                offset: word(at + 8)?,
                address: word(at + 16)?,
                size: word(at + 32)?,
            });
        }
    }
    Some(found)
}

fn make_writable(bytes: &mut [u8]) -> Option<()> {
    const PF_W: u8 = 2;
    for segment in segments(bytes)?.iter().filter(|segment| segment.executable) {
        *bytes.get_mut(segment.flags_at)? |= PF_W;
    }
    Some(())
}

fn file_offset(bytes: &[u8], address: u64) -> Option<u64> {
    let segments = segments(bytes)?;
    let holds = |one: &&Segment| (one.address..one.address + one.size).contains(&address);
    segments.iter().find(holds).map(|segment| address - segment.address + segment.offset)
}

/// The file of the copy that probes go on.
pub(super) fn tls(folder: &Path) -> PathBuf {
    folder.join("libssl.so.3")
}

/// Waits until there is no probe in a library of a process. The kernel takes them out long after
/// their tracer has ended.
pub(super) fn unprobed(pid: u32, library: &Path) -> Result<()> {
    let deadline = Instant::now() + DETACHED;
    while !is_unprobed(pid, library)? {
        if Instant::now() > deadline {
            bail!(
                "{} is probed for {DETACHED:?} now: is another tracer at work?",
                library.display()
            );
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Whether the code of a library, as a process has it in memory, is that of the file.
fn is_unprobed(pid: u32, library: &Path) -> Result<bool> {
    let file = fs::read(library).context("failed to read the library's copy")?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).context("the server is gone")?;
    let memory = File::open(format!("/proc/{pid}/mem")).context("failed to look at the server")?;
    let name = library.to_string_lossy();
    for line in maps.lines().filter(|line| line.contains("r-xp") && line.ends_with(&*name)) {
        let (start, end, offset) = mapping(line).with_context(|| format!("odd mapping: {line}"))?;
        let mut code = vec![0; usize::try_from(end - start)?];
        memory.read_exact_at(&mut code, start).context("failed to read the server's code")?;
        let original = file.get(usize::try_from(offset)?..).unwrap_or_default();
        // The last page goes on behind the file's end.
        let length = code.len().min(original.len());
        if code.get(..length) != original.get(..length) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Start, end, and offset in the file of a line of /proc/PID/maps.
fn mapping(line: &str) -> Option<(u64, u64, u64)> {
    let number = |text| u64::from_str_radix(text, 16).ok();
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    Some((number(start)?, number(end)?, number(words.nth(1)?)?))
}
