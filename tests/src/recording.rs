//! What the agent writes into a file with `--write`, read as it comes, and kept as sums only: for
//! each connection and direction which stream of the fixtures it carries, how far, and the gaps.
//!
//! Fails on pieces that come twice, out of order, with a hole between them, or with a wrong length.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{content, coverage, deadline, schema, streams::StreamKey};

/// Missing bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Where in the stream.
    pub offset: u64,
    /// How many.
    pub length: u64,
    /// Why.
    pub reason: String,
}

/// One direction of one connection, as far as it was told.
#[derive(Clone)]
pub struct Seen {
    /// The process.
    pub pid: u32,
    /// Which direction.
    pub direction: String,
    /// Bytes and missing bytes.
    pub length: u64,
    /// What is missing.
    pub gaps: Vec<Gap>,
    /// The streams of the fixtures that have these bytes here.
    pub streams: Vec<u64>,
    /// Where the first byte was that is of no stream, or of another than those before.
    pub foreign: Option<u64>,
    /// Ports, local and the peer's, wherever they were told.
    pub ports: Vec<(u16, u16)>,
    hash: Sha256,
}

impl fmt::Debug for Seen {
    /// Without the gaps one by one: they can be thousands.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pid, direction, length, gaps, streams, .. } = self;
        write!(f, "{direction} of process {pid}, {length} bytes, {} gaps", gaps.len())?;
        write!(f, ", the last {:?}, of {} possible streams", gaps.last(), streams.len())
    }
}

impl Seen {
    /// SHA-256 of the bytes, in hexadecimal digits.
    pub fn hash(&self) -> String {
        let digest = self.hash.clone().finalize();
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Bytes that were told, without the missing ones.
    pub fn told(&self) -> u64 {
        self.length - self.gaps.iter().map(|gap| gap.length).sum::<u64>()
    }

    fn data(&mut self, bytes: &[u8]) {
        let offset = self.length;
        self.streams.retain(|&stream| content::has(stream, offset, bytes));
        if self.streams.is_empty() {
            self.foreign.get_or_insert(offset);
        }
        self.hash.update(bytes);
        self.length += bytes.len() as u64;
    }

    fn gap(&mut self, length: u64, reason: &str) {
        self.gaps.push(Gap { offset: self.length, length, reason: reason.to_owned() });
        self.length += length;
    }
}

/// The file that an agent writes.
pub struct Recording {
    path: PathBuf,
    lines: BufReader<File>,
    half: Vec<u8>,
    /// How many streams the fixtures have.
    streams: u64,
    seen: BTreeMap<StreamKey, Seen>,
    limits: Vec<Value>,
}

impl Recording {
    /// An empty one in a folder; the fixtures have streams with numbers below this.
    pub fn new(folder: &Path, streams: u64) -> Result<Self> {
        let path = folder.join("recording");
        let lines = BufReader::with_capacity(
            1 << 20,
            File::create_new(&path).and_then(|_| File::open(&path))?,
        );
        Ok(Self {
            path,
            lines,
            half: Vec::new(),
            streams,
            seen: BTreeMap::new(),
            limits: Vec::new(),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All that was seen, by connection and direction.
    pub fn seen(&self) -> impl Iterator<Item = (&StreamKey, &Seen)> {
        self.seen.iter()
    }

    /// The records of the type `limit`.
    pub fn limits(&self) -> &[Value] {
        &self.limits
    }

    /// Reads on until `done`, or until nothing has come for so long.
    pub fn read_until(&mut self, idle: Duration, done: impl Fn(&Self) -> bool) -> Result<()> {
        loop {
            self.read()?;
            if done(self) {
                return Ok(());
            }
            let more = deadline::until("more events", idle, || {
                Ok((!self.lines.fill_buf()?.is_empty()).then_some(()))
            });
            if more.is_err() {
                return Ok(());
            }
        }
    }

    /// Takes all whole lines that are there.
    pub fn read(&mut self) -> Result<()> {
        while self.lines.read_until(b'\n', &mut self.half)? > 0 {
            if self.half.ends_with(b"\n") {
                let line = std::mem::take(&mut self.half);
                self.take(&line).with_context(|| String::from_utf8_lossy(&line).into_owned())?;
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &[u8]) -> Result<()> {
        if line.windows(LIMIT.len()).take(64).any(|part| part == LIMIT) {
            self.limits.push(schema::record(str::from_utf8(line)?)?);
            return Ok(());
        }
        let event: Event<'_> = serde_json::from_slice(line).context("not the JSON of a piece")?;
        let key = (event.network.connection.id.to_owned(), event.network.io.direction.to_owned());
        let streams = self.streams;
        if !self.seen.contains_key(&key) {
            coverage::saw(&serde_json::from_slice(line)?);
        }
        let seen = self.seen.entry(key).or_insert_with(|| event.first(streams));
        ensure!(event.offset == seen.length, "offset {}, not {}", event.offset, seen.length);
        ensure!(event.process.pid == seen.pid, "another process");
        match event.bytes()? {
            Some(bytes) => seen.data(&bytes),
            None => seen.gap(event.length, event.reason.context("a gap without reason")?),
        }
        let known = event.length > 0 || event.reason == Some("detached");
        ensure!(event.offset + event.length == seen.length && known, "wrong length");
        let port = |end: Option<Endpoint>| end.and_then(|end| end.port);
        if let (Some(local), Some(peer)) = (port(event.network.local), port(event.network.peer))
            && !seen.ports.contains(&(local, peer))
        {
            seen.ports.push((local, peer));
        }
        Ok(())
    }
}

/// What a line has near its beginning that is of no connection.
const LIMIT: &[u8] = br#""type":"limit""#;

/// A line, as far as it matters here.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    process: Process,
    #[serde(borrow)]
    network: Network<'a>,
    offset: u64,
    length: u64,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    base64: Option<&'a str>,
    reason: Option<&'a str>,
}

#[derive(Deserialize)]
struct Process {
    pid: u32,
}

#[derive(Deserialize)]
struct Network<'a> {
    #[serde(borrow)]
    connection: Connection<'a>,
    #[serde(borrow)]
    io: Io<'a>,
    local: Option<Endpoint>,
    peer: Option<Endpoint>,
}

#[derive(Deserialize)]
struct Connection<'a> {
    id: &'a str,
}

#[derive(Deserialize)]
struct Io<'a> {
    direction: &'a str,
}

#[derive(Clone, Copy, Deserialize)]
struct Endpoint {
    /// None of a Unix socket.
    port: Option<u16>,
}

impl Event<'_> {
    /// The direction that this is the first piece of.
    fn first(&self, streams: u64) -> Seen {
        Seen {
            pid: self.process.pid,
            direction: self.network.io.direction.to_owned(),
            length: 0,
            gaps: Vec::new(),
            streams: (0..streams).collect(),
            foreign: None,
            ports: Vec::new(),
            hash: Sha256::new(),
        }
    }

    /// The bytes; none of a gap.
    fn bytes(&self) -> Result<Option<Cow<'_, [u8]>>> {
        let bytes = match (self.kind, &self.text, self.base64) {
            ("data", Some(text), None) => Cow::Borrowed(text.as_bytes()),
            ("data", None, Some(coded)) => Cow::Owned(BASE64_STANDARD.decode(coded)?),
            ("gap", None, None) => return Ok(None),
            _ => anyhow::bail!("neither data nor gap"),
        };
        Ok(Some(bytes))
    }
}
