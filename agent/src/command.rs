//! Runs what the command line asks for.

mod files;
mod log;

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _, Write},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use jiff::tz::TimeZone;

use crate::{
    check,
    cli::{
        CheckArgs, Cli, Command, EnterArgs, FilesArgs, GenerateArgs, ListArgs, ListOutput, Output,
        ReplayArgs, ShowArgs, SymbolsArgs, TraceArgs,
    },
    decode::{self, Schema},
    emit, enter,
    expression::Expression,
    generate,
    pipeline::{self, Replay, Summary, Trace, Wanted},
    privilege::{self, Part},
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
    | Command::Generate(GenerateArgs { verbosity, .. })
    | Command::Fs(FilesArgs { verbosity, .. })
    | Command::Enter(EnterArgs { verbosity, .. })
    | Command::Check(CheckArgs { verbosity, .. })) = &command;
    log::start(*verbosity);
    if looks_only(&command) {
        privilege::renounce();
    }
    let tracing = matches!(command, Command::Trace(_));
    let result = match command {
        Command::Trace(args) => in_runtime(trace(args)),
        Command::Replay(args) => in_runtime(replay(args)),
        Command::List(args) => in_runtime(list(args)),
        Command::Check(args) => {
            in_runtime(check::check(Path::new(PROC), args.kernel.return_probes))
        }
        // Namespaces are a thread's own: nothing may run beside it.
        Command::Enter(args) => return enter(&args.into()),
        Command::Fs(args) => files::run(&args, Path::new(PROC)),
        Command::Generate(args) => generate::generate(&args.folder),
    };
    let status = match result {
        Ok(()) => 0,
        Err(error) => {
            note(&format!("{error:#}"));
            1
        }
    };
    if tracing { pipeline::leave(status) } else { ExitCode::from(status) }
}

/// Ends as the program does that was run, or as a shell that could not run it.
fn enter(options: &enter::Options) -> ExitCode {
    enter::enter(Path::new(PROC), options).unwrap_or_else(|error| {
        note(&format!("{error:#}"));
        let status = error.downcast_ref().map_or(1, enter::NotExecuted::status);
        ExitCode::from(status)
    })
}

/// Whether it starts no program, and is to touch no process.
fn looks_only(command: &Command) -> bool {
    use Command::{Check, List, Replay, Trace};
    matches!(command, Trace(_) | Replay(_) | List(_) | Check(_))
}

fn in_runtime(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = runtime()?;
    let result = runtime.block_on(work);
    // Its threads may be in the middle of attaching; nothing here may wait for them.
    std::mem::forget(runtime);
    result
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("tlstap-tasks")
        .on_thread_start(|| privilege::keep(Part::Tasks))
        .enable_all()
        .build()
        .context("failed to start the runtime")
}

async fn trace(args: TraceArgs) -> Result<()> {
    if let (Some(record), Some(write)) = (&args.record, &args.show.write) {
        ensure!(record != write, "--record and --write are the same file");
    }
    let (max_call_bytes, limits) = (args.call_bytes(), args.limit.limits());
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
        max_rate: args.limit.max_rate,
        limits,
        sockets: args.sockets,
        links: args.links,
        returns: args.kernel.return_probes,
        metrics: args.metrics,
        otlp: export(&args.show)?,
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
        otlp: export(&args.show)?,
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

fn export(show: &ShowArgs) -> Result<Option<emit::otlp::Export>> {
    let endpoint = show.otlp.endpoint()?;
    ensure!(
        endpoint.is_none() || !show.plaintext(),
        "--otlp needs decoded messages, packets have none"
    );
    Ok(endpoint.map(|to| emit::otlp::Export { to, say: note }))
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
    // A probe is tried.
    privilege::keep(Part::Hooks { perf: true });
    let findings = pipeline::list(Path::new(PROC), symbols, args.kernel.return_probes).await;
    let findings = findings.context("failed to list processes")?;
    let written = match args.output {
        ListOutput::Table => {
            emit::table(&findings, args.verbosity.verbose > 0, &mut io::stdout().lock())
        }
        ListOutput::Json => emit::findings(&findings, &mut io::stdout().lock()),
    };
    emit::ignore_closed(written).context("failed to write the list")
}
