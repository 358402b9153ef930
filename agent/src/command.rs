//! Runs what the command line asks for.

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use jiff::tz::TimeZone;
use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    check,
    cli::{
        Cli, Command, ListArgs, ListOutput, Output, ReplayArgs, ShowArgs, SymbolsArgs, TraceArgs,
        Verbosity,
    },
    decode::{self, Schema},
    emit,
    expression::Expression,
    pipeline::{self, Replay, Summary, Trace, Wanted},
    redact::Redaction,
    resolve::Given,
    terminal::{self, Width},
};

/// Where the node's processes are.
const PROC: &str = "/proc";

/// Runs the command. A trace does not return: see [`pipeline::leave`].
pub fn run(cli: Cli) -> ExitCode {
    let command = cli.command.unwrap_or(Command::Trace(cli.trace));
    let (Command::Trace(TraceArgs { verbosity, .. })
    | Command::Replay(ReplayArgs { verbosity, .. })
    | Command::List(ListArgs { verbosity, .. })
    | Command::Check(verbosity)) = &command;
    log(*verbosity);
    let tracing = matches!(command, Command::Trace(_));
    let result = runtime().and_then(|runtime| {
        let result = runtime.block_on(dispatch(command));
        // Its threads may be in the middle of attaching; nothing here may wait for them.
        std::mem::forget(runtime);
        result
    });
    let status = match result {
        Ok(()) => 0,
        Err(error) => {
            note(&format!("{error:#}"));
            1
        }
    };
    if tracing { pipeline::leave(status) } else { ExitCode::from(status) }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .on_thread_start(work_in_batches)
        .enable_all()
        .build()
        .context("failed to start the runtime")
}

/// What decodes gives way to a program that has something to do, and does more at once when its turn
/// comes: the program is the one that is traced, or its client. By its policy it does not take the
/// processor from one (sched(7), `SCHED_BATCH`), by its long slice it is one's at once that wakes up
/// (`sched_runtime` of sched_setattr(2), Linux 6.12). It has its fair share of the processor all the same.
fn work_in_batches() {
    /// The longest, in nanoseconds.
    const SLICE: u64 = 100_000_000;
    // SAFETY: plain integers, of which all zeroes are the parameters of the policy.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = u32::try_from(size_of::<libc::sched_attr>()).unwrap_or_default();
    attributes.sched_policy = libc::SCHED_BATCH.cast_unsigned();
    attributes.sched_runtime = SLICE;
    // SAFETY: it reads the structure, and concerns the calling thread only. Where it is forbidden,
    // nothing changes.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}

/// The agent's own log, on standard error. It never carries plaintext.
fn log(Verbosity { verbose }: Verbosity) {
    let level = match verbose {
        0 => "warn",
        1 => "tlstap=info",
        2 => "tlstap=debug",
        _ => "trace",
    };
    let format = tracing_subscriber::fmt::layer()
        .with_writer(|| terminal::Stderr)
        .with_ansi(emit::colour(&io::stderr()))
        .with_target(verbose > 1);
    // Fails only if a log was set up before.
    let _ = tracing_subscriber::registry().with(EnvFilter::new(level)).with(format).try_init();
}

async fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Trace(args) => trace(args).await,
        Command::Replay(args) => replay(args).await,
        Command::List(args) => list(args).await,
        Command::Check(_) => check::check(Path::new(PROC)).await,
    }
}

async fn trace(args: TraceArgs) -> Result<()> {
    if let (Some(record), Some(write)) = (&args.record, &args.show.write) {
        ensure!(record != write, "--record and --write are the same file");
    }
    let max_call_bytes = args.call_bytes();
    let mut filters = args.select.filters();
    // Nobody else need pay for it.
    if let (Some(connection), true) = (args.show.follow_connection, filters.pids.is_empty()) {
        filters.pids.push(connection.pid);
    }
    let options = Trace {
        proc: PROC.into(),
        filters,
        raw: args.show.plaintext(),
        decode: decoding(&args.show),
        schema: schema(&args.show)?,
        symbols: symbols(&args.symbols)?,
        redact: redaction(&args.show),
        wanted: wanted(&args.show),
        duration: args.duration,
        count: args.show.count,
        record: args.record,
        ring_bytes: ring_bytes(args.ring_size),
        decoders: args.decoders.map(usize::from),
        max_call_bytes,
        sockets: args.sockets,
        links: args.links,
        logging: args.verbosity.verbose > 1,
    };
    conclude(pipeline::trace(options, writer(&args.show)?, note).await?)
}

async fn replay(args: ReplayArgs) -> Result<()> {
    if let Some(write) = &args.show.write {
        // It would be gone before it is read.
        ensure!(!same(&args.file, write), "{} would be overwritten", args.file.display());
    }
    let options = Replay {
        filters: args.select.filters(),
        raw: args.show.plaintext(),
        decode: decoding(&args.show),
        schema: schema(&args.show)?,
        redact: redaction(&args.show),
        wanted: wanted(&args.show),
        count: args.show.count,
        file: args.file,
    };
    conclude(pipeline::replay(options, writer(&args.show)?, note).await?)
}

/// Whether both are the same file, by whatever name.
fn same(one: &Path, other: &Path) -> bool {
    let file = |path| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    matches!((file(one), file(other)), (Ok(one), Ok(other)) if one == other)
}

fn decoding(show: &ShowArgs) -> decode::Options {
    let asked = show.filter.as_ref().is_some_and(Expression::needs_bodies);
    decode::Options { keep_bodies: show.body || asked, body_limit: show.body_limit }
}

fn wanted(show: &ShowArgs) -> Wanted {
    Wanted { expression: show.filter.clone(), connection: show.follow_connection }
}

/// The types that the files describe.
fn schema(show: &ShowArgs) -> Result<Schema> {
    let mut schema = Schema::default();
    contents(&show.proto, |set| Ok(schema.add(set)?))?;
    Ok(schema)
}

fn symbols(args: &SymbolsArgs) -> Result<Given> {
    let mut given = Given::default();
    contents(&args.symbols, |json| Ok(given.add(json)?))?;
    Ok(given)
}

/// Takes the contents of files.
fn contents(files: &[PathBuf], mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    for file in files {
        let bytes = fs::read(file).with_context(|| format!("failed to read {}", file.display()))?;
        take(&bytes).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn redaction(show: &ShowArgs) -> Option<Redaction> {
    (!show.show_secrets).then(|| Redaction { patterns: show.redact.clone() })
}

fn writer(show: &ShowArgs) -> Result<emit::Writer<Box<dyn Write + Send>>> {
    let output: Box<dyn Write + Send> = match &show.write {
        Some(path) => Box::new(
            File::create(path).with_context(|| format!("failed to create {}", path.display()))?,
        ),
        None => {
            let packets = show.output == Output::Pcapng;
            ensure!(
                !packets || !io::stdout().is_terminal(),
                "packets are not for a terminal: use -w FILE, or | wireshark -k -i -"
            );
            if io::stdout().is_terminal() {
                Box::new(terminal::Stdout)
            } else {
                Box::new(io::stdout())
            }
        }
    };
    let view = emit::View {
        headers: show.body || show.headers_only,
        bodies: show.body,
        color: show.write.is_none() && emit::colour(&io::stdout()),
        heading: show.write.is_none() && !show.raw && io::stdout().is_terminal(),
        zone: TimeZone::system(),
        width: Width::of_stdout().filter(|_| show.write.is_none()),
    };
    Ok(emit::Writer::new(output, show.output.into(), view))
}

fn conclude(summary: Summary) -> Result<()> {
    note(&summary.to_string());
    summary.result()
}

/// Bytes of the ring buffer: a power of two.
fn ring_bytes(kib: Option<u32>) -> u32 {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let by_cpus = || u32::try_from(cpus).map_or(64, |cpus| cpus.clamp(8, 64)) * 1024;
    (kib.unwrap_or_else(by_cpus) * 1024).next_power_of_two()
}

/// One line for the user that is no record.
fn note(text: &str) {
    // Nothing can be done if standard error is closed.
    let _ = writeln!(terminal::Stderr, "tlstap: {text}");
}

async fn list(args: ListArgs) -> Result<()> {
    let symbols = symbols(&args.symbols)?;
    let findings =
        pipeline::list(Path::new(PROC), symbols).await.context("failed to list processes")?;
    let written = match args.output {
        ListOutput::Table => {
            emit::table(&findings, args.verbosity.verbose > 0, &mut io::stdout().lock())
        }
        ListOutput::Json => emit::findings(&findings, &mut io::stdout().lock()),
    };
    emit::ignore_closed(written).context("failed to write the list")
}
