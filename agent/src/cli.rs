//! The command line.

pub(crate) mod complete;
mod enter;
mod files;
mod limit;
mod otlp;
mod unit;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use regex::bytes::Regex;
use wildmatch::WildMatch;

pub use self::{enter::EnterArgs, files::FilesArgs, limit::LimitArgs, otlp::OtlpArgs};
use crate::{
    attach::{Links, ReturnProbes, Sockets},
    capture::ConnectionKey,
    emit,
    expression::Expression,
    metrics, redact,
    select::{Filters, PodName},
};

/// Bytes of a body that may be asked for: half of what the decoders keep in all.
const BODY_LIMIT: usize = 64 << 20;
/// Of a call, with --headers-only.
const HEADERS: u64 = 8 << 10;
/// Of a call, else.
const CALL: u64 = 4 << 20;

/// Shows the plaintext of TLS traffic on this node, for every process in every container.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Without one, `trace`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of `trace`.
    #[command(flatten)]
    pub trace: TraceArgs,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Stream what processes say over TLS (the default)
    Trace(TraceArgs),
    /// Show again what a trace recorded; needs neither root nor this kernel
    Replay(ReplayArgs),
    /// Show every process with TLS code: hooked, or why not; with -v also where the probes go
    List(ListArgs),
    /// Show where a container's files lie on the host; with PATH, the one path to open
    Fs(FilesArgs),
    /// Run a program of the host in namespaces of a container
    Enter(EnterArgs),
    /// Show what works on this node, and what is missing
    Check(CheckArgs),
    /// Write manual pages, and completions of shells, into a folder
    #[command(hide = true)]
    Generate(GenerateArgs),
}

/// Options of `trace`.
#[derive(Debug, Args)]
pub struct TraceArgs {
    /// Which processes.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How events are shown.
    #[command(flatten)]
    pub show: ShowArgs,
    /// Stop after this time: 500ms, 10s, 5m, 1h
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Record all plaintext into this file too, secrets as they are, for `tlstap replay`; one that
    /// exists is replaced
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Symbols of files that have none.
    #[command(flatten)]
    pub symbols: SymbolsArgs,
    /// Size of the ring buffer between kernel and agent, in KiB, rounded up to a power of two; 1024 a
    /// CPU if not given, at least 8192 and at most 65536
    #[arg(long, value_name = "KIB", value_parser = clap::value_parser!(u32).range(4..=1 << 20))]
    pub ring_size: Option<u32>,
    /// How many threads decode; one for every four processors if not given. `-o text`, `-o pcapng`,
    /// --count and --record have one
    #[arg(long, value_name = "N", hide_short_help = true,
          value_parser = clap::value_parser!(u8).range(1..=64))]
    pub decoders: Option<u8>,
    /// Most bytes copied from one call, 4 MiB if not given; what is beyond is reported as a gap
    #[arg(long, value_name = "BYTES")]
    pub max_call_bytes: Option<u64>,
    /// What the agent may take.
    #[command(flatten)]
    pub limit: LimitArgs,
    /// How the sockets of connections are found, at best
    #[arg(long, value_enum, default_value_t = Sockets::Tracepoints, hide_short_help = true)]
    pub sockets: Sockets,
    /// How probes are held in place, at best
    #[arg(long, value_enum, default_value_t = Links::Session, hide_short_help = true)]
    pub links: Links,
    /// Whether functions are probed at their return.
    #[command(flatten)]
    pub kernel: KernelArgs,
    /// Serve metrics for Prometheus, /healthz and /readyz over HTTP: 127.0.0.1:9464, or :9464 for all
    /// addresses
    #[arg(long, value_name = "[ADDRESS]:PORT")]
    pub metrics: Option<metrics::Address>,
    /// How much is logged.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Options of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// What `trace --record` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Which processes.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How events are shown.
    #[command(flatten)]
    pub show: ShowArgs,
    /// How much is logged.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// The filters.
#[derive(Debug, Args)]
pub struct SelectArgs {
    /// Only this container: its name, or the beginning of its id; may be repeated
    #[arg(long, value_name = "NAME|ID", add = complete::containers())]
    pub container: Vec<String>,
    /// Only this Kubernetes pod; may be repeated
    #[arg(long, value_name = "[NS/]NAME", value_parser = pod)]
    pub pod: Vec<PodName>,
    /// Only this Kubernetes namespace; may be repeated
    #[arg(long, value_name = "NS")]
    pub namespace: Vec<String>,
    /// Only containers of images like this, * and ? as in a shell; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub image: Vec<String>,
    /// Only this process; may be repeated
    #[arg(long, value_name = "PID")]
    pub pid: Vec<u32>,
    /// Only processes, or threads, of this name; may be repeated
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<String>,
    /// Only programs with a path like this, inside their container; may be repeated
    #[arg(long, value_name = "GLOB")]
    pub exe: Vec<String>,
}

/// Which output there is, and how much.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// How events are written
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Write events to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Show the plaintext as it is instead of decoded messages
    #[arg(long)]
    pub raw: bool,
    /// Show headers and bodies too
    #[arg(long)]
    pub body: bool,
    /// Name the members of gRPC's messages by this FileDescriptorSet (protoc --include_imports -o FILE);
    /// may be repeated
    #[arg(long, value_name = "FILE", requires = "body")]
    pub proto: Vec<PathBuf>,
    /// Most bytes of a body that --body shows, before and after decompression: 4096, 64k, 1m
    #[arg(long, value_name = "SIZE", value_parser = size, default_value = "1m")]
    pub body_limit: usize,
    /// Show headers, but no bodies; a trace copies no more than 8 KiB of a call then, if
    /// --max-call-bytes says nothing else
    #[arg(long, conflicts_with_all = ["body", "raw"])]
    pub headers_only: bool,
    /// Mask what matches this regular expression too, in header values, URLs, bodies, queries and raw
    /// bytes; may be repeated
    #[arg(long, value_name = "REGEX", value_parser = redact::pattern, conflicts_with = "show_secrets")]
    pub redact: Vec<Regex>,
    /// Only events for which this holds: CEL over the names of the JSON output, such as
    /// 'http.response.status_code >= 500 && container.name.matches("web")'
    #[arg(long, value_name = "EXPRESSION", value_parser = Expression::parse)]
    pub filter: Option<Expression>,
    /// Only this connection: a `network.connection.id` of the JSON output
    #[arg(long, value_name = "ID")]
    pub follow_connection: Option<ConnectionKey>,
    /// Show passwords, tokens, cookies and other secrets, which are masked otherwise
    #[arg(long)]
    pub show_secrets: bool,
    /// Stop after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// Where spans go.
    #[command(flatten)]
    pub otlp: OtlpArgs,
}

/// What the kernel is trusted with.
#[derive(Clone, Copy, Debug, Args)]
pub struct KernelArgs {
    /// Whether functions are probed at their return, at which some kernels kill processes under a seccomp
    /// filter
    #[arg(long, value_enum, default_value_t = ReturnProbes::Tried, hide_short_help = true)]
    pub return_probes: ReturnProbes,
}

/// Options of `check`.
#[derive(Clone, Copy, Debug, Args)]
pub struct CheckArgs {
    /// Whether functions are probed at their return.
    #[command(flatten)]
    pub kernel: KernelArgs,
    /// How much is logged.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Options of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How the list is written
    #[arg(short, long, value_enum, default_value_t = ListOutput::Table)]
    pub output: ListOutput,
    /// Whether functions are probed at their return.
    #[command(flatten)]
    pub kernel: KernelArgs,
    /// Symbols of files that have none.
    #[command(flatten)]
    pub symbols: SymbolsArgs,
    /// How much is logged.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Options of `generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// It is made if it is not there
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
    /// How much is logged.
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// Symbols of files that have none.
#[derive(Debug, Args)]
pub struct SymbolsArgs {
    /// Where the functions of stripped builds are: a JSON file as in docs/symbols.md; repeats
    #[arg(long, value_name = "FILE")]
    pub symbols: Vec<PathBuf>,
}

/// How much is logged to standard error.
#[derive(Clone, Copy, Debug, Args)]
pub struct Verbosity {
    /// Log more to standard error; twice: the kernel half's log too
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// One line for each exchange, for people
    Text,
    /// One object a line, schema tlstap/v1
    Json,
    /// The plaintext as TCP packets, for Wireshark
    Pcapng,
    /// Not at all: for measurements
    None,
}

/// How the list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListOutput {
    /// For people
    Table,
    /// One object a line
    Json,
}

impl From<Output> for emit::Format {
    fn from(output: Output) -> Self {
        match output {
            Output::Text => Self::Text,
            Output::Json => Self::Json,
            Output::Pcapng => Self::Pcapng,
            Output::None => Self::None,
        }
    }
}

impl TraceArgs {
    /// How much of a call is copied.
    pub fn call_bytes(&self) -> u64 {
        self.max_call_bytes.unwrap_or(if self.show.headers_only { HEADERS } else { CALL })
    }
}

impl ShowArgs {
    /// Whether the plaintext is shown as it is.
    pub fn plaintext(&self) -> bool {
        self.raw || self.output == Output::Pcapng
    }
}

impl SelectArgs {
    /// The filters.
    pub fn filters(&self) -> Filters {
        Filters {
            containers: self
                .container
                .iter()
                .map(|name| name.trim_start_matches('/').to_owned())
                .collect(),
            pods: self.pod.clone(),
            namespaces: self.namespace.clone(),
            images: globs(&self.image),
            pids: self.pid.clone(),
            commands: self.comm.clone(),
            executables: globs(&self.exe),
        }
    }
}

fn globs(texts: &[String]) -> Vec<WildMatch> {
    texts.iter().map(|text| WildMatch::new(text)).collect()
}

fn pod(text: &str) -> Result<PodName, String> {
    let pod = PodName::parse(text);
    if pod.name.is_empty() || pod.name.contains('/') || pod.namespace.as_deref() == Some("") {
        return Err("write NAME or NAMESPACE/NAME".to_owned());
    }
    Ok(pod)
}

/// Bytes, with a unit of 1024 or its square.
fn size(text: &str) -> Result<usize, String> {
    let size = unit::bytes(text, unit::SMALL)?.and_then(|size| usize::try_from(size).ok());
    size.filter(|size| *size <= BODY_LIMIT).ok_or_else(|| "write 0 to 64m".to_owned())
}

/// A number with a unit; seconds without one.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("unknown unit '{unit}'; use ms, s, m or h")),
    };
    let number: f64 = number.parse().map_err(|_invalid: std::num::ParseFloatError| {
        format!("'{number}' is not a number; write 10s, 500ms, 5m")
    })?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("10x").is_err());
        assert!(duration("s").is_err());
        assert!(duration("99999999999999999999h").is_err());
    }

    #[test]
    fn sizes() {
        assert_eq!((size("0"), size("64k"), size("64M")), (Ok(0), Ok(65_536), Ok(64 << 20)));
        for wrong in ["", "k", "1g", "65m", "-1", "1.5m", "99999999999999999999"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        let call = |words: &[&str]| {
            Cli::try_parse_from([&["tlstap"], words].concat()).unwrap().trace.call_bytes()
        };
        assert_eq!((call(&[]), call(&["--headers-only"])), (4 << 20, 8 << 10));
        assert_eq!(call(&["--headers-only", "--max-call-bytes", "70"]), 70);
        assert!(Cli::try_parse_from(["tlstap", "--headers-only", "--body"]).is_err());
    }

    #[test]
    fn a_connection_by_its_id() {
        let key = ConnectionKey { pid: 41, object: 0x7f00, birth: 0xabc };
        let id = key.to_string();
        let cli = Cli::try_parse_from(["tlstap", "--follow-connection", &id]).unwrap();
        assert_eq!(cli.trace.show.follow_connection, Some(key));
        for wrong in ["", "29", "29-7f00", "29-7f00-abc-1", "x-7f00-abc", "+29-7f00-abc"] {
            assert!(wrong.parse::<ConnectionKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn trace_is_the_default() {
        let cli = Cli::try_parse_from(["tlstap", "--pid", "1", "-o", "json"]).unwrap();
        assert!(cli.command.is_none());
        assert_eq!(cli.trace.select.pid, [1]);
        let cli = Cli::try_parse_from(["tlstap", "trace", "--container", "/web"]).unwrap();
        let Some(Command::Trace(args)) = cli.command else { panic!("no trace") };
        assert_eq!(args.select.filters().containers, ["web"]);
        assert!(Cli::try_parse_from(["tlstap", "--count", "0"]).is_err());
        assert!(Cli::try_parse_from(["tlstap", "--redact", "a("]).is_err());
        assert!(Cli::try_parse_from(["tlstap", "--redact", "a{9999}{9999}"]).is_err());
    }

    #[test]
    fn a_replay_shows_as_a_trace_does() {
        let words =
            ["tlstap", "replay", "a.tlstap", "--comm", "curl", "-o", "json", "--count", "2"];
        let cli = Cli::try_parse_from(words).unwrap();
        let Some(Command::Replay(args)) = cli.command else { panic!("no replay") };
        assert_eq!(args.file, PathBuf::from("a.tlstap"));
        assert_eq!(args.select.filters().commands, ["curl"]);
        assert_eq!((args.show.output, args.show.count), (Output::Json, Some(2)));
        assert!(Cli::try_parse_from(["tlstap", "replay"]).is_err());
        assert!(Cli::try_parse_from(["tlstap", "replay", "a", "--duration", "1s"]).is_err());
    }

    #[test]
    fn pods_are_named_with_or_without_namespace() {
        let cli = Cli::try_parse_from(["tlstap", "--pod", "web-0", "--pod", "shop/web-1"]).unwrap();
        let pods = cli.trace.select.filters().pods;
        assert_eq!(pods, [PodName::parse("web-0"), PodName::parse("shop/web-1")]);
        for wrong in ["", "/web-0", "shop/", "a/b/c"] {
            assert!(Cli::try_parse_from(["tlstap", "--pod", wrong]).is_err(), "{wrong}");
        }
    }
}
