//! However it ends: the prompt at once, exit 0, one summary line, and nothing left behind.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::{
    fs::{CWD, FileType, Mode, OFlags, fcntl_getfl, fcntl_setfl, mknodat},
    process::Signal,
};
use tlstap_tests::{
    agent::{Agent, END, EVENT, PROMPT},
    bpf,
    cli::Ended,
    deadline,
    node::Node,
    process,
    talk::Talking,
};

crate::tests![
    by_interrupt,
    by_termination,
    by_closed_stdout,
    with_many_probes,
    by_kill,
    with_a_slow_reader,
    with_a_blocked_reader,
    by_two_interrupts,
];

/// Lines of raw plaintext that a pipe has no room for: some 16 MiB.
const ROUNDS: &str = "300";
const MESSAGE: usize = 16 << 10;

/// Detaching takes the kernel 0.1 s a probe, one after the other.
const GONE: Duration = Duration::from_secs(20);

/// What the agent put into the kernel, and how to find its processes.
struct Traces {
    programs: BTreeSet<u64>,
    mark: String,
}

impl Traces {
    /// Starts an agent by `start`; what the kernel has more afterwards is its.
    fn of(start: impl FnOnce() -> Result<Agent>) -> Result<(Agent, Self)> {
        let before = bpf::programs()?;
        let agent = start()?;
        let programs = bpf::programs()?.difference(&before).copied().collect::<BTreeSet<_>>();
        ensure!(!programs.is_empty(), "an agent that is ready has no program in the kernel");
        let mark = agent.mark().to_owned();
        Ok((agent, Self { programs, mark }))
    }

    fn gone(&self) -> Result<()> {
        let gone = deadline::until("the end of all programs and processes", GONE, || {
            let programs = bpf::programs()?.intersection(&self.programs).count();
            let processes = process::with_environment(&self.mark)?.len();
            Ok((programs == 0 && processes == 0).then_some(()))
        });
        gone.with_context(|| {
            format!(
                "programs {:?} of {:?}, processes {:?}",
                bpf::programs(),
                self.programs,
                process::with_environment(&self.mark)
            )
        })
    }
}

fn well(ended: &Ended) -> Result<()> {
    ended.succeeded()?;
    ensure!(ended.took <= PROMPT, "the prompt came after {:?}", ended.took);
    ended.summary()?;
    Ok(())
}

fn talking(node: &Node) -> Result<Talking> {
    node.talk()?.flags(&["--rounds", "5"]).start(b"ping", b"pong")
}

fn by_signal(node: &Node, signal: Signal) -> Result<()> {
    let mut talking = talking(node)?;
    let (mut agent, traces) =
        Traces::of(|| node.tlstap(&["trace", "--raw", "-o", "json"])?.ready())?;
    talking.go()?;
    agent.wait_for_count("any", 20, |_| true)?;
    well(&agent.stop_by(signal)?)?;
    traces.gone()
}

fn by_interrupt(node: &Node) -> Result<()> {
    by_signal(node, Signal::INT)
}

fn by_termination(node: &Node) -> Result<()> {
    by_signal(node, Signal::TERM)
}

fn by_closed_stdout(node: &Node) -> Result<()> {
    let mut talking = talking(node)?;
    let launch = || node.tlstap(&["trace", "--raw", "-o", "json"])?.head(1).ready();
    let (agent, traces) = Traces::of(launch)?;
    talking.go()?;
    agent.says("tlstap/v1", EVENT)?;
    well(&agent.finish(END)?)?;
    traces.gone()
}

/// A dozen libraries: their probes take seconds to detach, which nobody must wait for.
fn with_many_probes(node: &Node) -> Result<()> {
    let mut all = Vec::new();
    for number in 0..12 {
        let folder = node.scratch().join(format!("library-{number}"));
        fs::create_dir_all(&folder)?;
        all.push(node.talk()?.own_library(&folder)?.start(b"ping", b"pong")?);
    }
    let (mut agent, traces) =
        Traces::of(|| node.tlstap(&["trace", "--raw", "-o", "json"])?.ready())?;
    for talking in &mut all {
        talking.go()?;
    }
    agent.wait_for_count("any", 4 * all.len(), |_| true)?;
    well(&agent.stop_by(Signal::INT)?)?;
    traces.gone()
}

/// Nobody can answer a KILL; the kernel must clean up.
fn by_kill(node: &Node) -> Result<()> {
    let _talking = talking(node)?;
    let (agent, traces) = Traces::of(|| node.tlstap(&["trace", "-o", "json"])?.ready())?;
    agent.stop_by(Signal::KILL)?;
    traces.gone()
}

/// An agent whose output goes into a pipe that nobody has read yet, and which still has much to
/// write.
fn behind_a_pipe(node: &Node) -> Result<(Agent, File)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("events");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    // Else opening it would wait for the agent.
    let nonblocking = OFlags::NONBLOCK.bits() as i32;
    let pipe = File::options().read(true).custom_flags(nonblocking).open(&path)?;
    fcntl_setfl(&pipe, fcntl_getfl(&pipe)? & !OFlags::NONBLOCK)?;
    let message = vec![b'm'; MESSAGE];
    let mut talking = node.talk()?.flags(&["--rounds", ROUNDS]).start(&message, &message)?;
    let arguments = ["trace", "--raw", "--show-secrets", "-o", "json", "--write"];
    let agent = node.tlstap(&arguments)?.argument(path.display().to_string()).ready()?;
    talking.go()?;
    Ok((agent, pipe))
}

/// Reads a little at a time, to the end; gives the number of lines.
fn read_slowly(mut pipe: File) -> thread::JoinHandle<Result<usize>> {
    thread::spawn(move || {
        let (mut lines, mut some) = (0, vec![0; MESSAGE]);
        loop {
            thread::sleep(Duration::from_millis(2));
            match pipe.read(&mut some)? {
                0 => return Ok(lines),
                length => lines += some.iter().take(length).filter(|&&byte| byte == b'\n').count(),
            }
        }
    })
}

/// Holds it to exit 1, and to the reason as its last words.
fn failed(ended: &Ended, reason: &str) -> Result<()> {
    ensure!(ended.code == Some(1), "exit {:?}, not 1", ended.code);
    ended.no_accident()?;
    let last = ended.stderr.last().context("nothing on stderr")?;
    ensure!(last.contains(reason), "'{last}' does not say that {reason}");
    Ok(())
}

/// What is queued is written, however long that takes, as long as somebody reads.
fn with_a_slow_reader(node: &Node) -> Result<()> {
    let (agent, pipe) = behind_a_pipe(node)?;
    let reading = read_slowly(pipe);
    let ended = agent.stop_by(Signal::INT)?;
    ended.succeeded()?;
    ensure!(ended.took > PROMPT, "all was written in {:?}: the reader was not slow", ended.took);
    let lines = reading.join().map_err(|_panic| anyhow!("the reader panicked"))??;
    let summary = ended.summary()?;
    ensure!(summary.contains(&format!("{lines} event")), "{lines} lines, but {summary}");
    Ok(())
}

fn with_a_blocked_reader(node: &Node) -> Result<()> {
    let (agent, _pipe) = behind_a_pipe(node)?;
    failed(&agent.stop_by(Signal::INT)?, "the output is blocked")
}

/// Whoever does not want to wait for a slow reader says so.
fn by_two_interrupts(node: &Node) -> Result<()> {
    let (agent, pipe) = behind_a_pipe(node)?;
    let reading = read_slowly(pipe);
    agent.signal(Signal::INT)?;
    // It must have noticed the first before the second comes.
    thread::sleep(Duration::from_millis(200));
    let ended = agent.stop_by(Signal::INT)?;
    reading.join().map_err(|_panic| anyhow!("the reader panicked"))??;
    ensure!(ended.took <= PROMPT, "the prompt came after {:?}", ended.took);
    failed(&ended, "told to stop twice")
}
