//! Issue 9: what the agent's threads may still do once it is set up.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, mknodat, open},
    pipe::fcntl_getpipe_size,
};
use tlstap_tests::{
    agent::EVENT,
    collector::{self, By},
    deadline,
    event::exchanges,
    node::Node,
};

use crate::web;

crate::tests![
    threads_keep_what_they_need,
    perf_links_need_more,
    an_export_needs_nothing,
    a_replay_keeps_nothing
];

const DAC_OVERRIDE: u64 = 1 << 1;
const DAC_READ_SEARCH: u64 = 1 << 2;
const SYS_PTRACE: u64 = 1 << 19;
const SYS_ADMIN: u64 = 1 << 21;
const PERFMON: u64 = 1 << 38;
const BPF: u64 = 1 << 39;
const CHECKPOINT_RESTORE: u64 = 1 << 40;

const TASKS: u64 = BPF | SYS_PTRACE | DAC_READ_SEARCH | DAC_OVERRIDE;
const HOOKS: u64 = BPF | PERFMON | SYS_PTRACE | DAC_READ_SEARCH | CHECKPOINT_RESTORE;

/// A thread, as /proc tells.
struct Thread {
    name: String,
    fields: BTreeMap<String, String>,
}

impl Thread {
    fn all(pid: u32) -> Result<Vec<Self>> {
        let threads = fs::read_dir(format!("/proc/{pid}/task"))?;
        threads
            .map(|thread| Self::read(&fs::read_to_string(thread?.path().join("status"))?))
            .collect()
    }

    fn read(status: &str) -> Result<Self> {
        let fields = status.lines().filter_map(|line| line.split_once(':'));
        let fields: BTreeMap<_, _> =
            fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        let name = fields.get("Name").context("no name")?.clone();
        Ok(Self { name, fields })
    }

    fn field(&self, name: &str) -> Result<&str> {
        self.fields.get(name).map(String::as_str).with_context(|| format!("no {name}"))
    }

    /// Holds it to have no more than these capabilities, no way to others, and filtered system calls.
    fn keeps(&self, capabilities: u64) -> Result<()> {
        for set in ["CapEff", "CapPrm", "CapBnd"] {
            let found = u64::from_str_radix(self.field(set)?, 16)?;
            ensure!(found == capabilities, "{}: {set} {found:x}, not {capabilities:x}", self.name);
        }
        for set in ["CapInh", "CapAmb"] {
            ensure!(u64::from_str_radix(self.field(set)?, 16)? == 0, "{}: {set}", self.name);
        }
        ensure!(self.field("NoNewPrivs")? == "1", "{} may gain privileges", self.name);
        ensure!(self.field("Seccomp")? == "2", "{}: system calls are not filtered", self.name);
        Ok(())
    }
}

/// Holds all threads of a trace to what they need, of which there is one of each.
fn holds(pid: u32, hooks: u64) -> Result<()> {
    let threads = Thread::all(pid)?;
    let mut seen = BTreeMap::new();
    for thread in &threads {
        let needs = match thread.name.as_str() {
            "tlstap-hooks" => hooks,
            // All that the agent is started with, where names are asked for.
            "tlstap-tasks" => TASKS,
            "tlstap-proc" => SYS_PTRACE | DAC_READ_SEARCH,
            "tlstap" | "tlstap-ring" | "tlstap-decode" => BPF,
            "tlstap-detach" | "tlstap-otlp" => 0,
            other => anyhow::bail!("an unknown thread: {other}"),
        };
        thread.keeps(needs)?;
        *seen.entry(thread.name.as_str()).or_insert(0) += 1;
    }
    for name in ["tlstap", "tlstap-ring", "tlstap-decode", "tlstap-hooks", "tlstap-proc"] {
        ensure!(seen.get(name) == Some(&1), "{seen:?}");
    }
    // The decoders have a filter more.
    let filters = |name: &str| -> Result<u32> {
        let thread = threads.iter().find(|thread| thread.name == name).context("no thread")?;
        Ok(thread.field("Seccomp_filters")?.parse()?)
    };
    ensure!(filters("tlstap-decode")? == filters("tlstap")? + 1, "the decoders are not confined");
    Ok(())
}

/// And then a container comes: it is probed and named all the same.
fn threads_keep_what_they_need(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    holds(agent.pid(), HOOKS)?;
    let server = web::server(docker)?;
    web::curl(docker, &server, "/hello", &[])?;
    agent.wait_for("the new container's", |events| {
        (!exchanges(events, server.name()).is_empty()).then_some(())
    })?;
    holds(agent.pid(), HOOKS)?;
    agent.stop()?;
    Ok(())
}

/// Kernels since July 2025 ask for more when probes are held by perf events.
fn perf_links_need_more(node: &Node) -> Result<()> {
    let talking = node.talk()?.start(b"", b"")?;
    let pid = talking.pid().to_string();
    let agent = node.tlstap(&["-o", "json", "--links", "perf", "--pid", &pid])?.ready()?;
    holds(agent.pid(), HOOKS | SYS_ADMIN)?;
    agent.stop()?;
    Ok(())
}

/// Also while it looks for a collector by name.
fn an_export_needs_nothing(node: &Node) -> Result<()> {
    let (_, to) = collector::place(By::Http)?;
    let launch = node.tlstap(&["-o", "json"])?;
    let launch = to.iter().fold(launch, |launch, argument| launch.argument(argument));
    let agent = launch.ready()?;
    let talking = node.talk()?.start(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n");
    let mut talking = talking?;
    talking.go()?;
    agent.complains("spans cannot be exported", EVENT)?;
    holds(agent.pid(), HOOKS)?;
    let exporting = Thread::all(agent.pid())?;
    ensure!(exporting.iter().any(|thread| thread.name == "tlstap-otlp"), "no thread of its own");
    talking.end()?;
    agent.stop()?;
    Ok(())
}

/// Caught while nobody takes what it writes.
fn a_replay_keeps_nothing(node: &Node) -> Result<()> {
    let [recording, fifo] =
        ["privileges.tlstap", "privileges.fifo"].map(|name| node.scratch().join(name));
    let record = recording.to_str().context("a path that is not UTF-8")?;
    let mut talking = node.talk()?.start(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 204 No\r\n\r\n")?;
    let pid = talking.pid().to_string();
    let agent = node.tlstap(&["-o", "none", "--record", record, "--pid", &pid])?.ready()?;
    talking.go()?;
    talking.end()?;
    agent.stop()?;
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    let full = open(&fifo, OFlags::RDWR | OFlags::NONBLOCK, Mode::empty())?;
    rustix::io::write(&full, &vec![0; fcntl_getpipe_size(&full)?])?;
    let output = fifo.to_str().context("a path that is not UTF-8")?;
    let replay = node.tlstap(&["replay", record, "-o", "json", "-w", output])?.start()?;
    let held = || -> Result<()> {
        let threads = Thread::all(replay.pid())?;
        let main = threads.iter().find(|thread| thread.name == "tlstap");
        main.context("no first thread")?.keeps(0)
    };
    deadline::until("the replay to give up all", EVENT, || Ok(held().ok()))
        .or_else(|late| held().context(late))
}
