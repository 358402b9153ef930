//! `tlstap trace`: probes everything and streams what it decodes.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Error, Result, bail};
use tokio::{
    sync::{Notify, mpsc, oneshot::error::RecvError},
    task::{JoinError, JoinSet},
    time::{self, Instant},
};

use super::{
    confined,
    hooking::{self, Hooking},
    hooks::Hooks,
    limiting::Limiting,
    metrics::Sources,
    progress::Progress,
    selection::Selection,
    sockets::SocketSearch,
    stop::{stopped, told_to_stop},
    stream::{Counts, Ended, Node, Settings, Stream},
    summary::Summary,
    targets::Targets,
    wanted::Wanted,
};
use crate::{
    attach::{KernelHalf, Links, Options, ReturnProbes, Sockets},
    capture::{Losses, Reader, Receiver, queue},
    decode,
    emit::{Writer, otlp},
    enrich::{Clerk, Enricher, Names},
    limits::{Limits, Memory, Reached},
    metrics::{self, Health, Metrics},
    privilege::{self, Part},
    reassemble::Census,
    recording::{Asked, Recorder},
    redact::Redaction,
    resolve::Given,
    select::Filters,
};

/// How long container runtimes may take to name what runs already, before the user is told that
/// nothing matches.
const PATIENCE: Duration = Duration::from_millis(500);
/// When the agent stops, its decoders finish what is queued, unless they get no further in so many
/// looks. Looks and not time, since a machine can stand still, too.
const LOOKS: u32 = 20;
/// From one of these looks to the next.
const LOOK: Duration = Duration::from_millis(50);

/// What the agent takes to begin is not held against its limits, for so long at most.
const BEGINNING: Duration = Duration::from_secs(10);

const NO_THREAD: &str = "failed to start a thread";

/// How the stream ended, and the recorder.
type Finished = (Ended, Option<Recorder>);

/// The threads that decode: what they came to, or that one panicked.
type Streams = JoinSet<Result<Finished, RecvError>>;

/// What to trace, and for how long.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The /proc of the node.
    pub proc: PathBuf,
    /// Which processes.
    pub filters: Filters,
    /// The plaintext as it is, instead of decoded messages.
    pub raw: bool,
    /// How messages are decoded.
    pub decode: decode::Options,
    /// The types of messages of gRPC.
    pub schema: decode::Schema,
    /// Symbols of files that have none.
    pub symbols: Given,
    /// Which secrets are masked; none if absent.
    pub redact: Option<Redaction>,
    /// Which records.
    pub wanted: Wanted,
    /// Stop after this time.
    pub duration: Option<Duration>,
    /// Stop after this many records.
    pub count: Option<u64>,
    /// Record into this file.
    pub record: Option<PathBuf>,
    /// Bytes of the ring buffer.
    pub ring_bytes: u32,
    /// How many streams decode side by side; by the number of processors if not given.
    pub decoders: Option<usize>,
    /// Most bytes copied from one call.
    pub max_call_bytes: u64,
    /// How the sockets of connections are found.
    pub sockets: Sockets,
    /// How probes are held in place.
    pub links: Links,
    /// Whether functions are probed at their return.
    pub returns: ReturnProbes,
    /// Most bytes copied from one process in a second, below 2^34.
    pub max_rate: Option<u64>,
    /// What the agent may take.
    pub limits: Limits,
    /// Where metrics are served, if anywhere.
    pub metrics: Option<metrics::Address>,
    /// Where spans go, if anywhere.
    pub otlp: Option<otlp::Export>,
    /// Whether the kernel half logs.
    pub logging: bool,
}

/// Traces until told to stop. Notes for the user go to `say`, one line each.
pub async fn trace<W>(options: Trace, writer: Writer<W>, say: impl Fn(&str)) -> Result<Summary>
where
    W: Write + Send + 'static,
{
    let memory = Memory::below(options.limits.memory, options.ring_bytes, decoders(&options))?;
    let (metrics, health) = (Arc::<Metrics>::default(), Arc::<Health>::default());
    let serve =
        |address| metrics::Server::start(address, Arc::clone(&metrics), Arc::clone(&health));
    let server = options.metrics.map(serve).transpose()?;
    let export = |export| otlp::Exporter::start(export, otlp::Node::this(&options.proc));
    let exporter = options.otlp.clone().map(export).transpose()?;
    let kernel = KernelHalf::load(&Options {
        ring_bytes: options.ring_bytes,
        max_call_bytes: options.max_call_bytes,
        max_rate: options.max_rate,
        sockets: options.sockets,
        links: options.links,
        returns: options.returns,
        filtered: !options.filters.is_empty(),
        logging: options.logging,
    })?;
    let (names, _runtimes) = Names::start(&options.proc);
    let writers = writer.split(decoders(&options));
    let (chunks, queues) = queue(memory.queue, writers.len());
    let mut reader = Reader::start(kernel.records, chunks, Arc::clone(&health.ring))
        .context("failed to watch the ring")?;
    let held = queues.iter().map(Receiver::held).collect();
    let counts = Arc::new(Counts::default());
    let settings = Settings {
        raw: options.raw,
        decode: options.decode,
        unfinished: memory.decoders,
        schema: options.schema.clone(),
        redact: options.redact.clone(),
        wanted: options.wanted.clone(),
        filters: vec![options.filters.clone()],
        count: options.count,
    };
    let (search, follow) = SocketSearch::new(options.proc.clone());
    let census = Census::default();
    let clerk = Clerk::start(&names.processes).context(NO_THREAD)?;
    let mut streams = JoinSet::new();
    let (notices, noticed) = mpsc::unbounded_channel();
    let mut noticed = Some(noticed);
    for (writer, queue) in writers.into_iter().zip(queues) {
        let node = Node {
            kernel: kernel.connections.clone(),
            search: search.another(),
            shard: queue.shard(),
            census: census.clone(),
        };
        let enricher = Enricher::new(names.clone(), clerk.clone());
        let settings = settings.clone();
        let mut stream = Stream::new(settings, Some(node), enricher, writer, Arc::clone(&counts));
        // Then it is the only one.
        if let Some(recorder) = recorder(&options)? {
            stream.record(recorder);
        }
        if server.is_some() {
            stream.tally(metrics.tally());
        }
        if let Some(exporter) = &exporter {
            stream.export(exporter.outlet());
        }
        // One of them, if there can be any.
        if let Some(noticed) = noticed.take_if(|_| options.limits.is_any()) {
            stream.notices(noticed);
        }
        streams.spawn(confined::spawn(stream.run(queue)).context(NO_THREAD)?);
    }

    let targets = Targets::of(&options.filters, &options.proc);
    let selection = Selection::new(options.filters.clone(), kernel.verdicts);
    let matched = selection.as_ref().map(Selection::matched);
    let hooked = Arc::default();
    let progress = Progress {
        counts: Arc::clone(&counts),
        hooked: Arc::clone(&hooked),
        losses: kernel.losses.clone(),
    };
    let (proc, symbols) = (options.proc.clone(), options.symbols.clone());
    let heart = Arc::clone(&health.hooks);
    let hooks = Hooks::new(proc, kernel.programs, names.clone(), targets, symbols, heart);
    let Hooking { ready, asked, feed: _feed } =
        hooking::start(options.proc.clone(), hooks, hooked, names, selection, follow)
            .context(NO_THREAD)?;
    // All that needs more has a thread of its own by now.
    privilege::keep(Part::Maps);
    let (begun, reached) = (Notify::new(), Arc::<Reached>::default());
    let limiting = Limiting {
        limits: options.limits,
        copying: kernel.copying,
        hooks: asked.clone(),
        connections: kernel.connections,
        notices,
        reached: Arc::clone(&reached),
    };
    let sources = Sources {
        counts: Arc::clone(&counts),
        losses: kernel.losses.clone(),
        meter: reader.meter(),
        ring_bytes: options.ring_bytes,
        queues: held,
        hooks: asked,
        export: exporter.as_ref().map(otlp::Exporter::meter),
        reached: Arc::clone(&reached),
    };
    metrics.watch(sources.look());
    let deadline = options.duration.map(|duration| Instant::now() + duration);
    let announce = async {
        if let Ok((libraries, processes)) = ready.await {
            health.ready();
            begun.notify_one();
            let library = if libraries == 1 { "library" } else { "libraries" };
            let process = if processes == 1 { "process" } else { "processes" };
            say(&format!("ready: {libraries} TLS {library} probed, in {processes} {process}"));
        }
        if let Some(matched) = matched {
            time::sleep(PATIENCE).await;
            if !matched.load(Ordering::Relaxed) {
                say(&format!("no process matches {} yet; waiting for one", options.filters));
            }
        }
        std::future::pending::<()>().await
    };
    let limit = async {
        // The first look at the node takes what it takes, but not for ever.
        let _ = time::timeout(BEGINNING, begun.notified()).await;
        limiting.run(&say).await;
    };
    let ended = tokio::select! {
        stopped = stopped() => { stopped.context("failed to watch for signals")?; None }
        () = sleep_until(deadline) => None,
        Some(ended) = streams.join_next() => Some(result(ended)?),
        failed = reader.failed() => return Err(failed).context("failed to read the ring buffer"),
        () = announce => None,
        () = progress.run() => None,
        () = limit => None,
    };
    let dropped = reader.finish();
    let (ended, recorder) = finish(ended, streams, &counts).await?;
    let mut losses = Losses::read(&kernel.losses)?;
    losses.queue_full = dropped;
    let recorded = recorder.map_or(Ok(()), |recorder| recorder.finish(losses));
    // Until the user is impatient.
    let exported = otlp::finish(exporter, told_to_stop()).await;
    if let Ended::Failed(error) = ended {
        return Err(error).context("failed to write the output");
    }
    let flaw = recorded.err().map(|error| incomplete(error, &options));
    Ok(Summary::new(&counts, Some(losses), exported, flaw).limited(&reached))
}

fn recorder(options: &Trace) -> Result<Option<Recorder>> {
    let Some(path) = &options.record else { return Ok(None) };
    // A replay does not know what else was asked for.
    let count = options.count.filter(|_| options.wanted.is_all());
    let asked = Asked { filters: options.filters.clone(), raw: options.raw, count };
    let recorder = Recorder::create(path, asked);
    recorder.map(Some).with_context(|| format!("failed to record into {}", path.display()))
}

fn incomplete(error: io::Error, options: &Trace) -> Error {
    let path = options.record.as_deref().unwrap_or(Path::new("")).display();
    Error::new(error).context(format!("the recording {path} is incomplete"))
}

/// How many streams decode side by side: one does for what a few processors can send.
fn decoders(options: &Trace) -> usize {
    // A recording has one order, and only one stream knows when it has written enough.
    if options.record.is_some() || options.count.is_some() {
        return 1;
    }
    let by_processors =
        || thread::available_parallelism().map_or(1, usize::from).div_ceil(4).min(8);
    options.decoders.unwrap_or_else(by_processors)
}

/// Lets the decoders finish what is queued, but not for ever: the output may be blocked, or the user
/// impatient. `first` is how one of them ended already.
async fn finish(first: Option<Finished>, mut others: Streams, counts: &Counts) -> Result<Finished> {
    let all = async {
        let mut finished = first;
        while let Some(ended) = others.join_next().await {
            let ended = result(ended)?;
            if matches!(finished, None | Some((Ended::Done, _))) {
                finished = Some(ended);
            }
        }
        finished.context("no decoder")
    };
    tokio::select! {
        biased;
        finished = all => finished,
        told = told_to_stop() => {
            told.context("failed to watch for signals")?;
            bail!("told to stop twice; some events were not written")
        }
        () = stuck(counts) => bail!("the output is blocked; some events were not written"),
    }
}

fn result(ended: Result<Result<Finished, RecvError>, JoinError>) -> Result<Finished> {
    const UNEXPECTED: &str = "the decoders ended unexpectedly";
    ended.context(UNEXPECTED)?.context(UNEXPECTED)
}

/// Completes when nothing comes through any more.
async fn stuck(counts: &Counts) {
    let mut before = counts.sum();
    let mut looks = 0;
    while looks < LOOKS {
        time::sleep(LOOK).await;
        let now = counts.sum();
        looks = if now == before { looks + 1 } else { 0 };
        before = now;
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
