//! A stream as a trace has it, of made-up processes, recorded and replayed.

use std::{
    cell::RefCell, fs, io::Read as _, os::unix::fs::symlink, path::PathBuf, sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};

use super::*;
use crate::{
    capture::{
        Call, Chunk, ChunkContent, ConnectionKey, Direction, Endpoints, GapReason, Method, Sender,
        Socket, queue,
    },
    emit::{Format, sample::PLAIN},
    enrich::{
        CONTAINER_DEADLINE, Clerk, Container, Containers, Library, NAME_DEADLINE, Names, Peers,
        Processes,
    },
    recording::Recorder,
};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: web\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
const NO_BODIES: decode::Options = decode::Options { keep_bodies: false, body_limit: 100 };

/// A trace that is recorded.
struct Live {
    folder: TempDir,
    names: Names,
    chunks: Sender,
    /// Ids that are looked up; while it is open, names may come.
    _wanted: mpsc::UnboundedReceiver<String>,
    stream: JoinHandle<(Ended, Option<Recorder>)>,
    said: tempfile::NamedTempFile,
}

impl Live {
    /// Of the process 41, which is `curl` in a container.
    fn start(asked: Asked) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = folder.path().join("proc/41");
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("comm"), "curl\n").unwrap();
        fs::write(process.join("cgroup"), format!("0::/docker/{ID}\n")).unwrap();
        symlink("/usr/bin/curl", process.join("exe")).unwrap();
        let (containers, wanted) = Containers::new();
        let names = Names {
            processes: Arc::new(Processes::new(folder.path().join("proc"))),
            containers: Arc::new(containers),
            libraries: Arc::default(),
            peers: Arc::new(Peers::new(&folder.path().join("proc"))),
        };
        let library = Library { name: "libssl".into(), version: None, path: "/libssl".to_owned() };
        names.libraries.add(library);
        let said = tempfile::NamedTempFile::new().unwrap();
        let settings = Settings {
            schema: decode::Schema::default(),
            redact: None,
            wanted: Wanted::default(),
            raw: asked.raw,
            decode: NO_BODIES,
            unfinished: Memory::UNBOUND.decoders,
            filters: vec![asked.filters.clone()],
            count: asked.count,
        };
        let clerk = Clerk::start(&names.processes).unwrap();
        let enricher = Enricher::new(names.clone(), clerk);
        let writer = writer(said.reopen().unwrap());
        let mut stream = Stream::new(settings, None, enricher, writer, Arc::default());
        stream.record(Recorder::create(&folder.path().join("a.tlstap"), asked).unwrap());
        let (chunks, mut queues) = queue(1 << 20, 1);
        let stream = tokio::spawn(stream.run(queues.remove(0)));
        Self { folder, names, chunks, _wanted: wanted, stream, said }
    }

    /// An exchange on a connection of its own.
    fn exchange(&mut self, pid: u32, birth: u64) {
        self.data(pid, birth, Direction::Transmit, REQUEST);
        self.data(pid, birth, Direction::Receive, RESPONSE);
    }

    fn data(&mut self, pid: u32, birth: u64, direction: Direction, bytes: &'static [u8]) {
        let bytes = Bytes::from_static(bytes);
        let loss = GapReason::Unknown;
        let content = ChunkContent::Data { direction, offset: 0, bytes, loss };
        let connection = ConnectionKey { pid, object: 1, birth };
        let call =
            Call { tid: pid, thread_name: [b'x'; 16], library: 0, entered: birth, returned: birth };
        self.chunks.send(Chunk { connection, call, content });
        self.chunks.flush();
    }

    fn learn(&self, name: &str) {
        let container = Container { name: Some(name.to_owned()), ..Container::default() };
        self.names.containers.learn(ID, Some(container));
    }

    /// Ends the trace as a user does: what it said, and the recording.
    async fn stop(self) -> (String, Recording) {
        drop(self.chunks);
        let (ended, recorder) = self.stream.await.unwrap();
        assert!(matches!(ended, Ended::Done));
        recorder.unwrap().finish(Losses::default()).unwrap();
        (content(&self.said), Recording(self.folder))
    }
}

fn writer(out: fs::File) -> Writer<fs::File> {
    Writer::new(out, Format::Json, PLAIN)
}

fn content(file: &tempfile::NamedTempFile) -> String {
    let mut content = String::new();
    file.reopen().unwrap().read_to_string(&mut content).unwrap();
    content
}

struct Recording(TempDir);

impl Recording {
    fn path(&self) -> PathBuf {
        self.0.path().join("a.tlstap")
    }

    /// What a replay says on standard output, what it notes, and how it ends.
    async fn replayed(&self, change: impl FnOnce(&mut Replay)) -> (String, Vec<String>, Summary) {
        let mut options = Replay {
            schema: decode::Schema::default(),
            redact: None,
            wanted: Wanted::default(),
            file: self.path(),
            filters: Filters::default(),
            raw: false,
            decode: NO_BODIES,
            count: None,
            otlp: None,
        };
        change(&mut options);
        let said = tempfile::NamedTempFile::new().unwrap();
        let notes = RefCell::new(Vec::new());
        let say = |note: &str| notes.borrow_mut().push(note.to_owned());
        let summary = replay(options, writer(said.reopen().unwrap()), say).await.unwrap();
        (content(&said), notes.into_inner(), summary)
    }

    /// Holds a replay to say what the trace said.
    async fn says(&self, expect: &str) {
        let (said, notes, summary) = self.replayed(|_| {}).await;
        assert_eq!(said, expect);
        assert!(notes.is_empty(), "{notes:?}");
        summary.result().unwrap();
    }
}

fn count(said: &str, what: &str) -> usize {
    said.matches(what).count()
}

#[tokio::test]
async fn names_are_those_that_the_trace_had() {
    let mut live = Live::start(Asked::default());
    live.exchange(41, 1);
    sleep(CONTAINER_DEADLINE + NAME_DEADLINE).await;
    live.learn("web");
    live.names.libraries.set_version(0, "openssl", "3.5.4");
    live.exchange(41, 2);
    sleep(NAME_DEADLINE).await;
    live.names.processes.rename(41, "worker".to_owned());
    // Begins before the container has its new name, and is written after.
    live.data(41, 3, Direction::Transmit, REQUEST);
    sleep(NAME_DEADLINE).await;
    live.learn("renamed");
    live.data(41, 3, Direction::Receive, RESPONSE);
    live.exchange(42, 4);
    let (said, recording) = live.stop().await;
    assert_eq!(count(&said, "\n"), 4, "{said}");
    for once in ["\"name\":\"web\"", "\"name\":\"renamed\"", "\"worker\"", "\"libssl\""] {
        assert_eq!(count(&said, once), 1, "{once} in {said}");
    }
    recording.says(&said).await;
}

#[tokio::test]
async fn a_name_that_comes_behind_its_chunks() {
    let mut live = Live::start(Asked::default());
    live.exchange(41, 1);
    live.exchange(41, 2);
    sleep(NAME_DEADLINE / 5).await;
    live.learn("web");
    let (said, recording) = live.stop().await;
    assert_eq!(count(&said, "\"name\":\"web\""), 2, "{said}");
    recording.says(&said).await;
    let (raw, ..) = recording.replayed(|options| options.raw = true).await;
    assert_eq!(count(&raw, "\"name\":\"web\""), 4, "{raw}");
}

#[tokio::test]
async fn a_socket_that_was_looked_for() {
    let (local, peer) = ("10.0.0.1:4321".parse().unwrap(), "10.0.0.2:443".parse().unwrap());
    let endpoints = Endpoints::Tcp { local, peer };
    let socket = Socket { endpoints, namespace: None, method: Method::Descriptor };
    let connection = ConnectionKey { pid: 41, object: 1, birth: 1 };
    let live = Live::start(Asked::default());
    let clerk = Clerk::start(&live.names.processes).unwrap();
    let mut enricher = Enricher::new(live.names.clone(), clerk);
    enricher.keep_notes();
    enricher.note_socket(connection, &socket);
    let mut replayed = Enricher::recorded(Recorded::default());
    for note in enricher.take_notes() {
        replayed.advance(note);
    }
    assert!(replayed.is_bound(connection));
}

#[tokio::test]
async fn what_was_asked_for_is_shown() {
    let filters = Filters { pids: vec![41], ..Filters::default() };
    let mut live = Live::start(Asked { filters, raw: false, count: Some(2) });
    for birth in 1..4 {
        live.exchange(43, birth);
        live.exchange(41, birth);
    }
    let (said, recording) = live.stop().await;
    assert_eq!((count(&said, "\n"), count(&said, "\"pid\":41")), (2, 2), "{said}");
    recording.says(&said).await;
    let (said, ..) = recording.replayed(|options| options.count = Some(1)).await;
    assert_eq!(count(&said, "\n"), 1, "{said}");
    let none = Filters { commands: vec!["none".to_owned()], ..Filters::default() };
    let (said, ..) = recording.replayed(|options| options.filters = none).await;
    assert_eq!(said, "");
}

#[tokio::test]
async fn a_trace_that_was_killed() {
    let mut live = Live::start(Asked::default());
    live.learn("web");
    live.exchange(41, 1);
    live.data(41, 2, Direction::Transmit, b"hello");
    sleep(Duration::from_millis(100)).await;
    live.stream.abort();
    let said = content(&live.said);
    let recording = Recording(live.folder);
    let (replayed, notes, summary) = recording.replayed(|_| {}).await;
    let (_, unfinished) = replayed.split_at_checked(said.len()).unwrap();
    assert!(replayed.starts_with(&said), "{replayed}");
    assert!(unfinished.contains("opaque") && unfinished.contains("\"web\""), "{unfinished}");
    assert!(
        notes
            .concat()
            .ends_with("a.tlstap is cut off: its trace was killed; this is what came before")
    );
    assert_eq!(summary.to_string(), "2 events, 62 plaintext bytes, losses unknown");
    summary.result().unwrap();
}

#[tokio::test]
async fn a_damaged_end() {
    let mut live = Live::start(Asked::default());
    live.learn("web");
    live.exchange(41, 1);
    let (said, recording) = live.stop().await;
    let mut bytes = fs::read(recording.path()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(recording.path(), bytes).unwrap();
    let (replayed, notes, summary) = recording.replayed(|_| {}).await;
    assert_eq!(replayed, said);
    assert!(notes.is_empty());
    let flaw = format!("{:#}", summary.result().unwrap_err());
    assert!(flaw.contains("a.tlstap: the recording is damaged after"), "{flaw}");
}

/// Entries with bytes changed that zstd does not notice: they were so before.
#[tokio::test]
async fn hostile_entries_do_no_harm() {
    let mut live = Live::start(Asked::default());
    live.learn("web");
    live.exchange(41, 1);
    live.exchange(41, 2);
    live.data(41, 3, Direction::Transmit, REQUEST);
    let (_, recording) = live.stop().await;
    let bytes = fs::read(recording.path()).unwrap();
    let heading = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let (heading, frame) = bytes.split_at(heading);
    let entries = zstd::decode_all(frame).unwrap();
    for at in 0..entries.len() {
        let mut changed = entries.clone();
        changed[at] = [0x00, 0xff, 0xcf, 0xdd, changed[at] ^ 1][at % 5];
        let file = [heading, &zstd::encode_all(&changed[..], 1).unwrap()].concat();
        fs::write(recording.path(), file).unwrap();
        recording.replayed(|options| options.raw = at % 2 == 0).await;
    }
}

#[tokio::test]
async fn no_recording_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("garbage");
    fs::write(&file, "hello").unwrap();
    let options = Replay {
        file,
        filters: Filters::default(),
        raw: false,
        decode: NO_BODIES,
        schema: decode::Schema::default(),
        redact: None,
        wanted: Wanted::default(),
        count: None,
        otlp: None,
    };
    let out = tempfile::tempfile().unwrap();
    let error = replay(options, writer(out), |_| {}).await.unwrap_err();
    let said = format!("{error:#}");
    assert!(said.contains("garbage: not a recording"), "{said}");
}
