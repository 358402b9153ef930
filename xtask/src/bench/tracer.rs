//! The tracers that are compared: tlstap with each output, those that people use today, and the
//! least that probes can cost.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use rustix::process::{Pid, WaitOptions, getpid, set_child_subreaper, waitpid};

use super::{
    ground::Ground,
    process::{Core, Running, on},
    sslsniff,
};

const START: Duration = Duration::from_secs(20);
/// Detaching takes the kernel 0.1 s a probe.
const END: Duration = Duration::from_secs(30);

/// Most bytes of a buffer that bpftrace 0.17 can print.
const BPFTRACE_BYTES: u64 = 200;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Variant {
    /// `tlstap trace -o none`
    None,
    /// `tlstap trace -o json -w FILE`
    Json,
    /// `tlstap trace -o text -w FILE`
    Text,
    /// A bpftrace script that prints what is read and written
    Bpftrace,
    /// bcc's sslsniff, where it runs
    Sslsniff,
    /// Empty BPF programs at entry and return of the functions behind all reads and writes
    Probes,
    /// The same, which copy the bytes into a ring: a minimal program in C
    Floor,
}

impl Variant {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "tlstap -o none",
            Self::Json => "tlstap -o json",
            Self::Text => "tlstap -o text",
            Self::Bpftrace => "bpftrace",
            Self::Sslsniff => "sslsniff",
            Self::Probes => "empty probes",
            Self::Floor => "floor (C)",
        }
    }

    /// Whether it is tlstap.
    pub(super) const fn is_ours(self) -> bool {
        matches!(self, Self::None | Self::Json | Self::Text)
    }

    /// Starts it on a process with the probed library.
    pub(super) fn start(self, ground: &Ground, pid: u32) -> Result<Tracer> {
        self.launch(self.command(ground, pid)?, ground.path("output"))
    }

    fn launch(self, command: Command, output: PathBuf) -> Result<Tracer> {
        let begun = Instant::now();
        let mut running = Running::start(self.name(), command)?;
        match self {
            Self::Bpftrace => all_attached(&running, 2 * 4)?,
            Self::Sslsniff => all_attached(&running, 2 * 2)?,
            _ => drop(running.says("ready", START)?),
        }
        Ok(Tracer { variant: self, running, output, ready_after: begun.elapsed() })
    }

    fn command(self, ground: &Ground, pid: u32) -> Result<Command> {
        let output = ground.path("output");
        Ok(match self {
            Self::None => tlstap(ground, pid, "none"),
            Self::Json | Self::Text => {
                let mut tlstap =
                    tlstap(ground, pid, if self == Self::Json { "json" } else { "text" });
                tlstap.arg("-w").arg(output);
                tlstap
            }
            Self::Bpftrace => {
                let mut bpftrace = on(Core::Others, "bpftrace");
                bpftrace.env("BPFTRACE_STRLEN", BPFTRACE_BYTES.to_string());
                bpftrace.arg("-o").arg(output);
                bpftrace.arg("-e").arg(script(&ground.library().to_string_lossy(), pid));
                bpftrace
            }
            Self::Sslsniff => {
                let sslsniff = ground.sslsniff.as_ref().context("sslsniff is not there")?;
                sslsniff.command(pid, &output)
            }
            Self::Probes => floor(ground, "empty"),
            Self::Floor => floor(ground, "copy"),
        })
    }
}

/// tlstap without output, on all processes of a command.
pub(super) fn quiet(ground: &Ground, process: &str) -> Result<Tracer> {
    let mut command = on(Core::Others, &ground.agent);
    command.args(["trace", "--comm", process, "-o", "none"]);
    Variant::None.launch(command, ground.path("output"))
}

fn tlstap(ground: &Ground, pid: u32, output: &str) -> Command {
    let mut tlstap = on(Core::Others, &ground.agent);
    tlstap.args(["trace", "--pid", &pid.to_string(), "-o", output]);
    tlstap
}

fn floor(ground: &Ground, what: &str) -> Command {
    let mut floor = on(Core::Others, ground.path("floor"));
    floor.arg(what).arg(ground.library());
    floor.args([ground.sites.read, ground.sites.write].map(|offset| offset.to_string()));
    floor
}

/// What a user would write: the buffer is noted at entry and printed at return.
fn script(library: &str, pid: u32) -> String {
    let line = "printf(\"%d %d %r\\n\", tid, $n, buf(@buffer[tid], $n));";
    format!(
        "uprobe:{library}:SSL_read, uprobe:{library}:SSL_write /pid == {pid}/
            {{ @buffer[tid] = arg1; }}
        uprobe:{library}:SSL_read_ex, uprobe:{library}:SSL_write_ex /pid == {pid}/
            {{ @buffer[tid] = arg1; @length[tid] = arg3; }}
        uretprobe:{library}:SSL_read, uretprobe:{library}:SSL_write /@buffer[tid]/
            {{ $n = (int32)retval; if ($n > 0) {{ {line} }} delete(@buffer[tid]); }}
        uretprobe:{library}:SSL_read_ex, uretprobe:{library}:SSL_write_ex /@buffer[tid]/
            {{ $n = *(uint64 *)@length[tid]; if (retval == 1) {{ {line} }}
               delete(@buffer[tid]); delete(@length[tid]); }}
        END {{ clear(@buffer); clear(@length); }}"
    )
}

/// Waits until a tracer that does not say so has all its probes in place.
fn all_attached(running: &Running, probes: usize) -> Result<()> {
    let deadline = Instant::now() + START;
    while running.probes() < probes {
        if Instant::now() > deadline {
            bail!("it has {} probes after {START:?}, not {probes}", running.probes());
        }
        thread::sleep(Duration::from_millis(50));
    }
    // The last one is counted before it is enabled.
    thread::sleep(Duration::from_millis(300));
    Ok(())
}

/// A tracer at work.
pub(super) struct Tracer {
    variant: Variant,
    running: Running,
    output: PathBuf,
    pub(super) ready_after: Duration,
}

/// What a tracer says that it saw.
pub(super) struct Captured {
    /// Absent where it does not count.
    pub(super) bytes: Option<u64>,
    /// Its own words.
    pub(super) note: String,
}

impl Tracer {
    pub(super) fn cpu_ns(&self) -> Result<u64> {
        self.running.cpu_ns()
    }

    pub(super) fn resident_kib(&self) -> Result<u64> {
        self.running.resident_kib()
    }

    /// Ends it, and waits until its probes are gone.
    pub(super) fn stop(self) -> Result<Captured> {
        let Self { variant, mut running, output, .. } = self;
        match variant {
            Variant::Probes | Variant::Floor => running.hang_up(),
            // Python passes over an interrupt that comes while a record is printed.
            Variant::Sslsniff => running.interrupt_until_it_ends(END)?,
            _ => running.interrupt()?,
        }
        let said = running.finish(END)?;
        gone()?;
        let captured = captured(variant, &said, &output)?;
        // Not all of them write one.
        let _ = fs::remove_file(&output);
        Ok(captured)
    }
}

/// Waits until the helper is gone that tlstap leaves its probes to. It became a child of ours
/// when tlstap ended, see [`adopt`].
fn gone() -> Result<()> {
    let deadline = Instant::now() + END;
    while let Some(helper) = helpers()?.first() {
        if Instant::now() > deadline {
            bail!("probes are still attached after {END:?}");
        }
        // Its memory goes before its descriptors do, so its name in /proc says nothing.
        waitpid(Some(*helper), WaitOptions::NOHANG).context("failed to await a helper")?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Makes whatever is left behind by a program of ours our child.
pub(super) fn adopt() -> Result<()> {
    set_child_subreaper(Some(getpid())).context("failed to become a subreaper")
}

/// Children of ours that are called like tlstap.
fn helpers() -> Result<Vec<Pid>> {
    let ours = format!("{}", std::process::id());
    let mut found = Vec::new();
    for folder in fs::read_dir("/proc").context("failed to read /proc")? {
        // pid (comm) state ppid ...
        let stat = fs::read_to_string(folder?.path().join("stat")).unwrap_or_default();
        let Some((pid, rest)) = stat.split_once(" (tlstap) ") else { continue };
        if rest.split(' ').nth(1) == Some(&ours) {
            found.extend(pid.parse().ok().and_then(Pid::from_raw));
        }
    }
    Ok(found)
}

fn captured(variant: Variant, said: &[String], output: &Path) -> Result<Captured> {
    let all = said.join("; ");
    match variant {
        Variant::None | Variant::Json | Variant::Text => {
            let summary = said.iter().find(|line| line.contains("plaintext bytes"));
            let summary = summary.with_context(|| format!("tlstap said no summary: {all}"))?;
            let words: Vec<_> = summary.split_whitespace().collect();
            let at = words.iter().position(|word| *word == "plaintext").context("no bytes")?;
            let bytes = words.get(at - 1).context("no number of bytes")?.parse()?;
            let note = words.get(at + 2..).unwrap_or_default().join(" ");
            Ok(Captured { bytes: Some(bytes), note })
        }
        Variant::Bpftrace => {
            let text = fs::read(output).context("bpftrace wrote nothing")?;
            let lost = said.iter().filter(|line| line.contains("Lost")).count();
            let note = if lost == 0 { "buffers cut at 200 B".into() } else { "lost events".into() };
            Ok(Captured { bytes: Some(printed(&text)), note })
        }
        Variant::Sslsniff => {
            let text = fs::read(output).context("sslsniff wrote nothing")?;
            let lost = said.iter().filter(|line| line.contains("lost")).count();
            let cut = format!("buffers cut at {} KiB", sslsniff::MAX_BYTES >> 10);
            let note = if lost == 0 { cut } else { format!("{cut}, lost events {lost} times") };
            Ok(Captured { bytes: Some(sslsniff::printed(&text)), note })
        }
        Variant::Probes => Ok(Captured { bytes: None, note: "captures nothing".to_owned() }),
        Variant::Floor => {
            let line = said.iter().find_map(|line| line.strip_prefix("captured "));
            let bytes = line.and_then(|line| line.split_whitespace().nth(1));
            let bytes = bytes.context("the floor said nothing")?.parse()?;
            Ok(Captured { bytes: Some(bytes), note: String::new() })
        }
    }
}

/// The bytes that bpftrace printed, in lines that begin with thread and length.
fn printed(text: &[u8]) -> u64 {
    let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse::<u64>().ok();
    let length = |line: &[u8]| {
        let mut words = line.split(|&byte| byte == b' ');
        number(words.next()?)?;
        Some(number(words.next()?)?.min(BPFTRACE_BYTES))
    };
    text.split(|&byte| byte == b'\n').filter_map(length).sum()
}
