//! capture → reassemble → decode → enrich → emit.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc::error::TryRecvError;

use super::sockets::SocketSearch;
use crate::{
    capture::{Chunk, ChunkContent, ConnectionKey, Connections, Receiver, Socket},
    decode::{self, raw},
    emit::Writer,
    enrich::{Enricher, Names},
    reassemble::{Segment, SegmentContent, Streams},
    select::Filters,
};

/// What has come through, for the summary.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Records written.
    pub(super) records: AtomicU64,
    /// Plaintext bytes taken from the ring.
    pub(super) bytes: AtomicU64,
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
    pub(super) filters: Filters,
    /// Stop after this many records.
    pub(super) count: Option<u64>,
}

/// Everything behind the ring buffer.
pub(super) struct Stream<W: Write> {
    settings: Settings,
    streams: Streams,
    /// What the kernel half knows at the end of a process.
    kernel: Connections,
    search: SocketSearch,
    decoders: HashMap<ConnectionKey, decode::Connection>,
    enricher: Enricher,
    writer: Writer<W>,
    counts: Arc<Counts>,
}

impl<W: Write> Stream<W> {
    pub(super) fn new(
        settings: Settings,
        kernel: Connections,
        search: SocketSearch,
        names: Names,
        writer: Writer<W>,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            settings,
            streams: Streams::default(),
            kernel,
            search,
            decoders: HashMap::new(),
            enricher: Enricher::new(names),
            writer,
            counts,
        }
    }

    /// Runs until the chunks end, the count is reached, or the output fails.
    pub(super) async fn run(mut self, mut chunks: Receiver) -> Ended {
        let ended = self.pump(&mut chunks).await;
        let flushed = self.writer.flush();
        match ended.and(flushed) {
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
            let next = match chunks.try_recv() {
                Ok(chunk) => Some(chunk),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    self.writer.flush()?;
                    tokio::select! {
                        chunk = chunks.recv() => chunk,
                        () = self.enricher.ready() => continue,
                        (connection, socket) = self.search.found() => {
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
    async fn finish(&mut self) -> io::Result<()> {
        let mut decoders: Vec<_> = self.decoders.drain().collect();
        // In the order in which they began, so that output does not depend on hashing.
        decoders.sort_unstable_by_key(|(key, _)| (key.birth, *key));
        let mut messages = Vec::new();
        for (_, mut decoder) in decoders {
            decoder.finish(&mut messages);
        }
        for message in messages {
            self.enricher.push(message);
        }
        while !self.write()? && self.enricher.waits() {
            self.enricher.ready().await;
        }
        Ok(())
    }

    fn take(&mut self, chunk: Chunk) {
        if let ChunkContent::Data { bytes, .. } = &chunk.content {
            self.counts.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        let mut segments = Vec::new();
        self.follow_socket(&chunk);
        if chunk.content == ChunkContent::Exit {
            self.end_process(&chunk, &mut segments);
        }
        self.streams.push(chunk, &mut segments);
        self.decode(segments);
    }

    /// Takes from a chunk what it says of its connection's socket.
    fn follow_socket(&mut self, chunk: &Chunk) {
        let connection = chunk.connection;
        match &chunk.content {
            ChunkContent::Socket(socket) => self.bind(connection, socket.clone()),
            ChunkContent::Unbound => self.enricher.unbind(connection),
            ChunkContent::Elsewhere => {
                let only = self.streams.of_process(connection.pid) == [connection];
                self.search.elsewhere(connection, only);
            }
            ChunkContent::Descriptor(number) => self.search.descriptor(connection, *number),
            ChunkContent::Exit => self.search.forget(connection.pid),
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
            self.bind(connection, socket);
        }
    }

    /// Asks the kernel half how far the connections of a process had come that ended without
    /// ending them: the last records may have been lost.
    fn end_process(&mut self, exit: &Chunk, segments: &mut Vec<Segment>) {
        let pid = exit.connection.pid;
        let open = self.streams.of_process(pid);
        for (connection, content) in self.kernel.left_by(pid, open) {
            self.streams.push(Chunk { connection, content, ..exit.clone() }, segments);
        }
    }

    fn decode(&mut self, segments: Vec<Segment>) {
        let mut messages = Vec::new();
        let mut ended = Vec::new();
        for segment in segments {
            if segment.content == SegmentContent::End {
                ended.push(segment.connection);
            }
            if self.settings.raw {
                messages.extend(raw::message(&segment));
                continue;
            }
            let key = segment.connection;
            let decoder = self
                .decoders
                .entry(key)
                .or_insert_with(|| decode::Connection::new(&self.settings.decode));
            decoder.push(&segment, &mut messages);
        }
        for message in messages {
            self.enricher.push(message);
        }
        for connection in ended {
            self.decoders.remove(&connection);
            self.enricher.unbind(connection);
        }
    }

    /// Writes the records that are ready. `true`: as many as were asked for are written.
    fn write(&mut self) -> io::Result<bool> {
        while let Some(record) = self.enricher.pop() {
            let thread = record.message.call.thread_name();
            let container = record.container.as_ref();
            if !self.settings.filters.select(&record.process, container, Some(&thread)) {
                continue;
            }
            self.writer.write(&record)?;
            let records = self.counts.records.fetch_add(1, Ordering::Relaxed) + 1;
            if self.settings.count == Some(records) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
