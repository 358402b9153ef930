//! capture → reassemble → decode → redact → enrich → emit.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc::{UnboundedReceiver, error::TryRecvError};

use super::{decoders::Decoders, sockets::SocketSearch, wanted::Wanted};
use crate::{
    capture::{Chunk, ChunkContent, ConnectionKey, Connections, Receiver, Shard, Socket},
    decode::{self, Message, raw},
    emit::{Notice, Writer, otlp::Outlet},
    enrich::{Enricher, Note, Record},
    metrics::Tally,
    reassemble::{Census, Segment, SegmentContent, Streams},
    recording::Recorder,
    redact::{Redaction, Redactor},
    select::Filters,
};

/// What has come through, for the summary.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Records written.
    pub(super) records: AtomicU64,
    /// Plaintext bytes taken from the ring, by [`crate::capture::Direction::index`].
    pub(super) bytes: [AtomicU64; 2],
    /// Chunks taken, of whatever kind.
    pub(super) chunks: AtomicU64,
    /// Connections that left their protocol.
    pub(super) malformed: AtomicU64,
}

impl Counts {
    /// Plaintext bytes taken from the ring, by [`crate::capture::Direction::index`].
    pub(super) fn plaintext(&self) -> [u64; 2] {
        self.bytes.each_ref().map(|bytes| bytes.load(Ordering::Relaxed))
    }

    /// Grows with whatever comes through.
    pub(super) fn sum(&self) -> u64 {
        let [records, chunks] = [&self.records, &self.chunks].map(|n| n.load(Ordering::Relaxed));
        records.wrapping_add(chunks)
    }
}

/// How the stream ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// The chunks ended, or the number of records that was asked for is written.
    Done,
    /// Nobody reads the output any more.
    Closed,
    /// The output could not be written.
    Failed(io::Error),
}

/// Settings of the stream.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) raw: bool,
    pub(super) decode: decode::Options,
    /// Bytes of unfinished messages that are kept.
    pub(super) unfinished: usize,
    /// The types of messages of gRPC.
    pub(super) schema: decode::Schema,
    /// Absent: secrets are shown.
    pub(super) redact: Option<Redaction>,
    pub(super) wanted: Wanted,
    /// All of them must hold.
    pub(super) filters: Vec<Filters>,
    /// Stop after this many records.
    pub(super) count: Option<u64>,
}

/// What is asked about connections beside the chunks.
pub(super) struct Node {
    /// What the kernel half knows at the end of a process.
    pub(super) kernel: Connections,
    pub(super) search: SocketSearch,
    /// Which of the connections come through this stream.
    pub(super) shard: Shard,
    /// Those of all streams.
    pub(super) census: Census,
}

/// Everything behind the ring buffer.
pub(super) struct Stream<W: Write> {
    settings: Settings,
    streams: Streams,
    /// Absent in a replay: a recording has what was found out.
    node: Option<Node>,
    decoders: Decoders,
    redactor: Option<Redactor>,
    /// Empty, kept for their room.
    segments: Vec<Segment>,
    messages: Vec<Message>,
    enricher: Enricher,
    writer: Writer<W>,
    counts: Arc<Counts>,
    recorder: Option<Recorder>,
    tally: Option<Tally>,
    outlet: Option<Outlet>,
    /// What the agent says of itself; absent where another stream writes it.
    notices: Option<UnboundedReceiver<Notice>>,
}

impl<W: Write> Stream<W> {
    pub(super) fn new(
        settings: Settings,
        node: Option<Node>,
        enricher: Enricher,
        writer: Writer<W>,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            decoders: Decoders::new(settings.decode, settings.unfinished),
            redactor: settings.redact.clone().map(Redactor::new),
            segments: Vec::new(),
            messages: Vec::new(),
            settings,
            streams: node
                .as_ref()
                .map_or_else(Streams::default, |node| Streams::counted(node.census.clone())),
            node,
            enricher,
            writer,
            counts,
            recorder: None,
            tally: None,
            outlet: None,
            notices: None,
        }
    }

    /// Counts every record from now on.
    pub(super) fn tally(&mut self, tally: Tally) {
        self.tally = Some(tally);
    }

    /// Exports every exchange from now on.
    pub(super) fn export(&mut self, outlet: Outlet) {
        self.outlet = Some(outlet);
    }

    /// Writes these among the records.
    pub(super) fn notices(&mut self, notices: UnboundedReceiver<Notice>) {
        self.notices = Some(notices);
    }

    /// Records every chunk from now on.
    pub(super) fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
        self.enricher.keep_notes();
    }

    /// Runs until the chunks end, the count is reached, or the output fails. Gives the recorder
    /// back, which lacks the end only.
    pub(super) async fn run(mut self, mut chunks: Receiver) -> (Ended, Option<Recorder>) {
        let written = self.pump(&mut chunks).await;
        self.note();
        (self.end(written), self.recorder)
    }

    /// Writes what is buffered; `written` is how writing went so far.
    pub(super) fn end(&mut self, written: io::Result<()>) -> Ended {
        let flushed = self.writer.flush();
        match written.and(flushed) {
            Ok(()) => Ended::Done,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ended::Closed,
            Err(error) => Ended::Failed(error),
        }
    }

    async fn pump(&mut self, chunks: &mut Receiver) -> io::Result<()> {
        loop {
            if self.write()? {
                return Ok(());
            }
            while let Some(Ok(notice)) = self.notices.as_mut().map(UnboundedReceiver::try_recv) {
                self.writer.notice(&notice)?;
            }
            let next = match chunks.try_recv() {
                Ok(chunk) => Some(chunk),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    // First, so that what was shown is recorded, should the agent be killed now.
                    self.keep();
                    self.writer.flush()?;
                    tokio::select! {
                        chunk = chunks.recv() => chunk,
                        () = self.enricher.ready() => continue,
                        notice = noticed(&mut self.notices) => {
                            self.writer.notice(&notice)?;
                            continue;
                        }
                        (connection, socket) = found(&mut self.node) => {
                            self.bind_late(connection, socket);
                            continue;
                        }
                    }
                }
            };
            match next {
                Some(chunk) => self.take(chunk),
                None => return self.finish().await,
            }
        }
    }

    /// Gives up on what is unfinished, and waits for the last names.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        let mut messages = Vec::new();
        self.decoders.finish(&mut messages);
        for message in messages {
            self.hand_on(message);
        }
        while !self.write()? && self.enricher.waits() {
            self.enricher.ready().await;
        }
        Ok(())
    }

    /// Takes a note from a recording.
    pub(super) fn advance(&mut self, note: Note) {
        self.enricher.advance(note);
    }

    /// Records the names that became known.
    fn note(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.notes(self.enricher.take_notes());
        }
    }

    /// Makes sure that what was recorded outlives the agent.
    fn keep(&mut self) {
        self.note();
        if let Some(recorder) = &mut self.recorder {
            recorder.flush();
        }
    }

    /// Takes the next chunk, and what the kernel half knows beside it.
    pub(super) fn take(&mut self, chunk: Chunk) {
        if chunk.content == ChunkContent::Exit {
            for left in self.left_by(&chunk) {
                self.take_one(left);
            }
        }
        self.take_one(chunk);
    }

    fn take_one(&mut self, chunk: Chunk) {
        self.counts.chunks.fetch_add(1, Ordering::Relaxed);
        self.enricher.begin(&chunk);
        self.note();
        if let Some(recorder) = &mut self.recorder {
            recorder.chunk(&chunk);
        }
        if let ChunkContent::Data { direction, bytes, .. } = &chunk.content {
            let count = direction.of(&self.counts.bytes);
            count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        self.follow_socket(&chunk);
        let mut segments = std::mem::take(&mut self.segments);
        self.streams.push(chunk, &mut segments);
        self.decode(&mut segments);
        self.segments = segments;
        let malformed = self.decoders.take_malformed();
        if malformed > 0 {
            self.counts.malformed.fetch_add(malformed, Ordering::Relaxed);
        }
    }

    /// Takes from a chunk what it says of its connection's socket.
    fn follow_socket(&mut self, chunk: &Chunk) {
        let connection = chunk.connection;
        match &chunk.content {
            ChunkContent::Socket(socket) => self.bind(connection, socket.clone()),
            ChunkContent::Unbound => self.enricher.unbind(connection),
            ChunkContent::Elsewhere | ChunkContent::Descriptor(_) => {
                self.enricher.expect(connection);
            }
            _ => {}
        }
        let Some(Node { search, census, .. }) = &mut self.node else { return };
        match &chunk.content {
            ChunkContent::Elsewhere => {
                search.elsewhere(connection, census.of(connection.pid) <= 1);
            }
            ChunkContent::Descriptor(number) => search.descriptor(connection, *number),
            ChunkContent::Exit => search.forget(connection.pid),
            _ => {}
        }
    }

    fn bind(&mut self, connection: ConnectionKey, socket: Socket) {
        tracing::info!(pid = connection.pid, %connection, by = %socket.method, "socket found");
        self.enricher.bind(connection, socket);
    }

    /// A socket was found by a search, during which much may have happened.
    fn bind_late(&mut self, connection: ConnectionKey, socket: Socket) {
        if self.streams.is_open(connection) && !self.enricher.is_bound(connection) {
            self.enricher.note_socket(connection, &socket);
            self.bind(connection, socket);
        }
    }

    /// Asks the kernel half how far the connections of a process had come that ended without
    /// ending them: the last records may have been lost.
    fn left_by(&mut self, exit: &Chunk) -> Vec<Chunk> {
        let Some(Node { kernel, shard, .. }) = &self.node else { return Vec::new() };
        let (pid, ended) = (exit.connection.pid, exit.call.returned);
        let left = kernel.left_by(pid, ended, self.streams.of_process(pid), *shard);
        left.into_iter()
            .map(|(connection, content)| Chunk { connection, content, ..exit.clone() })
            .collect()
    }

    fn decode(&mut self, segments: &mut Vec<Segment>) {
        for segment in segments.drain(..) {
            if self.settings.raw {
                let message = raw::message(&segment);
                if !message.is_end() || self.writer.shows_ends() {
                    self.messages.push(message);
                }
            } else {
                self.decoders.push(&segment, &mut self.messages);
            }
            let mut messages = std::mem::take(&mut self.messages);
            messages.drain(..).for_each(|message| self.hand_on(message));
            self.messages = messages;
            if segment.content == SegmentContent::End {
                if let Some(redactor) = &mut self.redactor {
                    redactor.forget(segment.connection);
                }
                self.enricher.unbind(segment.connection);
            }
        }
    }

    /// A decoded message goes on, without its secrets.
    fn hand_on(&mut self, mut message: Message) {
        self.settings.schema.read(&mut message);
        if let Some(redactor) = &mut self.redactor {
            redactor.redact(&mut message);
        }
        self.enricher.push(message);
    }

    /// Whether the filters want a record.
    fn selects(&self, record: &Record) -> bool {
        // Another thread may have ended what was shown; the writer knows what it was.
        if record.message.is_end() {
            return self.settings.wanted.has(record);
        }
        let mut filters = self.settings.filters.iter().filter(|filters| !filters.is_empty());
        let selected = filters.all(|filters| {
            let thread = record.message.call.thread_name();
            filters.select(&record.process, record.container.as_deref(), Some(&thread))
        });
        selected && self.settings.wanted.has(record)
    }

    /// Writes the records that are ready. `true`: as many as were asked for are written.
    pub(super) fn write(&mut self) -> io::Result<bool> {
        while let Some(record) = self.enricher.pop() {
            if !self.selects(&record) {
                continue;
            }
            self.writer.write(&record)?;
            if record.message.is_end() {
                continue;
            }
            if let Some(tally) = &mut self.tally {
                tally.count(&record);
            }
            if let Some(outlet) = &self.outlet {
                outlet.offer(record);
            }
            let records = self.counts.records.fetch_add(1, Ordering::Relaxed) + 1;
            if self.settings.count == Some(records) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The next of them.
async fn noticed(notices: &mut Option<UnboundedReceiver<Notice>>) -> Notice {
    if let Some(running) = notices {
        if let Some(notice) = running.recv().await {
            return notice;
        }
        *notices = None;
    }
    std::future::pending().await
}

/// The next socket that a search found.
async fn found(node: &mut Option<Node>) -> (ConnectionKey, Socket) {
    match node {
        Some(node) => node.search.found().await,
        None => std::future::pending().await,
    }
}
