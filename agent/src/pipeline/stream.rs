//! capture → reassemble → decode → enrich → emit.

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::mpsc;

use crate::{
    capture::{Chunk, ChunkContent, ConnectionKey},
    decode::{self, raw},
    emit::Writer,
    enrich::{Enricher, Note},
    reassemble::{Segment, SegmentContent, Streams},
    recording::Recorder,
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
    /// All of them must hold.
    pub(super) filters: Vec<Filters>,
    /// Stop after this many records.
    pub(super) count: Option<u64>,
}

/// Everything behind the ring buffer.
pub(super) struct Stream<W: Write> {
    settings: Settings,
    streams: Streams,
    decoders: HashMap<ConnectionKey, decode::Connection>,
    enricher: Enricher,
    writer: Writer<W>,
    counts: Arc<Counts>,
    recorder: Option<Recorder>,
}

impl<W: Write> Stream<W> {
    pub(super) fn new(
        settings: Settings,
        enricher: Enricher,
        writer: Writer<W>,
        counts: Arc<Counts>,
    ) -> Self {
        Self {
            settings,
            streams: Streams::default(),
            decoders: HashMap::new(),
            enricher,
            writer,
            counts,
            recorder: None,
        }
    }

    /// Records every chunk from now on.
    pub(super) fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
        self.enricher.keep_notes();
    }

    /// Runs until the chunks end, the count is reached, or the output fails. Gives the recorder
    /// back, which lacks the end only.
    pub(super) async fn run(
        mut self,
        mut chunks: mpsc::Receiver<Chunk>,
    ) -> (Ended, Option<Recorder>) {
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

    async fn pump(&mut self, chunks: &mut mpsc::Receiver<Chunk>) -> io::Result<()> {
        loop {
            if self.write()? {
                return Ok(());
            }
            let next = match chunks.try_recv() {
                Ok(chunk) => Some(chunk),
                Err(mpsc::error::TryRecvError::Disconnected) => None,
                Err(mpsc::error::TryRecvError::Empty) => {
                    self.writer.flush()?;
                    self.keep();
                    tokio::select! {
                        chunk = chunks.recv() => chunk,
                        () = self.enricher.ready() => continue,
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

    /// Takes the next chunk.
    pub(super) fn take(&mut self, chunk: Chunk) {
        self.enricher.begin(&chunk);
        self.note();
        if let Some(recorder) = &mut self.recorder {
            recorder.chunk(&chunk);
        }
        if let ChunkContent::Data { bytes, .. } = &chunk.content {
            self.counts.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        }
        if let ChunkContent::Socket(endpoints) = chunk.content {
            self.enricher.bind(chunk.connection, endpoints);
        }
        let mut segments = Vec::new();
        self.streams.push(chunk, &mut segments);
        self.decode(segments);
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
    pub(super) fn write(&mut self) -> io::Result<bool> {
        while let Some(record) = self.enricher.pop() {
            let thread = record.message.call.thread_name();
            let container = record.container.as_ref();
            let select = |f: &Filters| f.select(&record.process, container, Some(&thread));
            if !self.settings.filters.iter().all(select) {
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
