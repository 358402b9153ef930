//! The queue of messages that become records, in order.

use std::{collections::VecDeque, net::IpAddr, sync::Arc, time::Duration};

use foldhash::{HashMap, HashMapExt as _};
use tokio::time::{Instant, timeout_at};

use super::{
    Clerk, Container, Library, Names, Note, Record, Recorded,
    clock::Clock,
    notes::Notes,
    processes::{Home, Known},
};
use crate::{
    capture::{Chunk, ConnectionKey, Endpoints, Socket},
    decode::Message,
};

/// The longest that a record waits for its socket, or the name of its peer.
pub const NAME_DEADLINE: Duration = Duration::from_millis(50);

/// The longest that it waits for its container's name while a runtime is asked: one that is starting
/// a container may hold its answer back until that is done.
pub const CONTAINER_DEADLINE: Duration = Duration::from_millis(300);

/// Where names come from.
#[derive(Debug)]
enum Source {
    /// This node, now.
    Live(Names, Clerk),
    /// A recording; nothing else is looked at.
    Recorded(Recorded),
}

impl Source {
    fn process(&self, pid: u32) -> Arc<Known> {
        match self {
            Self::Live(_, clerk) => clerk.know(pid),
            Self::Recorded(names) => names.know(pid),
        }
    }

    /// As [`Names::container`]; `chunk` is the one that asks.
    fn container(&self, home: &Home, chunk: u64) -> (Option<Arc<Container>>, bool) {
        match self {
            Self::Live(names, _) => names.container(home),
            Self::Recorded(names) => home.container(|id| names.container(id, chunk)),
        }
    }

    fn library(&self, number: u32, pid: u32, chunk: u64) -> Option<Arc<Library>> {
        match self {
            Self::Live(names, _) => names.libraries.look_up(number, pid),
            Self::Recorded(names) => names.library(number, pid, chunk),
        }
    }

    /// As [`Names::peer`]; `chunk` as above.
    fn peer(&self, socket: Option<&Socket>, chunk: u64) -> (Option<Arc<str>>, bool) {
        match self {
            Self::Live(names, _) => names.peer(socket),
            Self::Recorded(names) => {
                let address = socket.and_then(address);
                (address.and_then(|address| names.peer(address, chunk)), false)
            }
        }
    }
}

/// The other side's address, which may have a name.
fn address(socket: &Socket) -> Option<IpAddr> {
    match socket.endpoints {
        Endpoints::Tcp { peer, .. } => Some(peer.ip()),
        Endpoints::Unix { .. } => None,
    }
}

/// A message that may still get a name.
#[derive(Debug)]
struct Waiting {
    deadline: Instant,
    /// For the container's name.
    named_by: Instant,
    message: Message,
    /// The number of the chunk that completed it.
    chunk: u64,
    known: Arc<Known>,
    socket: Option<Arc<Socket>>,
    /// Whether the socket may become known soon.
    expects: bool,
}

/// Turns messages into records, in the order given.
#[derive(Debug)]
pub struct Enricher {
    source: Source,
    clock: Clock,
    waiting: VecDeque<Waiting>,
    /// Of connections whose socket is known, or `None` while it is looked for.
    sockets: HashMap<ConnectionKey, Option<Arc<Socket>>>,
    /// Chunks so far.
    chunk: u64,
    /// For a recording.
    notes: Option<Notes>,
    /// The process of the last chunk, as it was noted.
    noted: Option<Arc<Known>>,
}

impl Enricher {
    /// Takes names from the given caches, where processes are looked at by the clerk.
    pub fn new(names: Names, clerk: Clerk) -> Self {
        Self::from(Source::Live(names, clerk), Clock::now())
    }

    /// Takes names and times from a recording.
    pub(crate) fn recorded(names: Recorded) -> Self {
        let clock = names.clock();
        Self::from(Source::Recorded(names), clock)
    }

    fn from(source: Source, clock: Clock) -> Self {
        Self {
            source,
            clock,
            waiting: VecDeque::new(),
            sockets: HashMap::new(),
            chunk: 0,
            notes: None,
            noted: None,
        }
    }

    /// From now on keeps notes for a recording.
    pub(crate) fn keep_notes(&mut self) {
        self.notes = Some(Notes::new(self.clock));
    }

    /// The notes since the last time, in order. Those about the process of a chunk are there once
    /// the chunk has begun.
    pub(crate) fn take_notes(&mut self) -> Vec<Note> {
        self.notes.as_mut().map_or_else(Vec::new, Notes::take)
    }

    /// Takes a note from the recording, at its place between the chunks.
    pub(crate) fn advance(&mut self, note: Note) {
        match (note, &mut self.source) {
            (Note::Socket { connection, socket }, _) => self.bind(connection, socket),
            (note, Source::Recorded(names)) => names.advance(note),
            (_, Source::Live(..)) => {}
        }
    }

    /// Notes a socket that no chunk tells.
    pub(crate) fn note_socket(&mut self, connection: ConnectionKey, socket: &Socket) {
        if let Some(notes) = &mut self.notes {
            notes.socket(connection, socket);
        }
    }

    /// A chunk comes; the messages pushed until the next one are completed by it.
    pub(crate) fn begin(&mut self, chunk: &Chunk) {
        self.chunk += 1;
        let Some(notes) = &mut self.notes else { return };
        let pid = chunk.connection.pid;
        let known = self.source.process(pid);
        notes.process(&known);
        // A replay may make a record where this trace makes none.
        if let (Some(names), false) = self.source.container(&known.home, self.chunk) {
            notes.container(&known.home, &names, None);
        }
        let number = chunk.call.library;
        notes.library(number, pid, self.source.library(number, pid, self.chunk).as_deref(), None);
        let socket = self.sockets.get(&chunk.connection).and_then(Option::as_deref);
        if let Some(address) = socket.and_then(address)
            && let (Some(name), false) = self.source.peer(socket, self.chunk)
        {
            notes.peer(address, Some(&name), None);
        }
        self.noted = Some(known);
    }

    /// Adds a message; its process is looked at now.
    pub fn push(&mut self, message: Message) {
        let known = self.process(message.connection.pid);
        let socket = self.sockets.get(&message.connection);
        let expects = socket == Some(&None);
        let socket = socket.cloned().flatten();
        let now = Instant::now();
        let (deadline, named_by) = (now + NAME_DEADLINE, now + CONTAINER_DEADLINE);
        let chunk = self.chunk;
        self.waiting.push_back(Waiting {
            deadline,
            named_by,
            message,
            chunk,
            known,
            socket,
            expects,
        });
    }

    fn process(&mut self, pid: u32) -> Arc<Known> {
        // What was noted a moment ago may be different by now.
        if let Some(noted) = self.noted.as_ref().filter(|noted| noted.process.pid == pid) {
            return Arc::clone(noted);
        }
        let known = self.source.process(pid);
        if let Some(notes) = &mut self.notes {
            notes.process(&known);
        }
        known
    }

    /// The socket of a connection became known, for the messages that wait too.
    pub fn bind(&mut self, connection: ConnectionKey, socket: Socket) {
        let socket = Arc::new(socket);
        for waiting in &mut self.waiting {
            if waiting.expects && waiting.message.connection == connection {
                waiting.socket = Some(Arc::clone(&socket));
                waiting.expects = false;
            }
        }
        self.sockets.insert(connection, Some(socket));
    }

    /// The socket of a connection is looked for.
    pub fn expect(&mut self, connection: ConnectionKey) {
        self.sockets.entry(connection).or_default();
    }

    /// Whether the socket of a connection is known.
    pub fn is_bound(&self, connection: ConnectionKey) -> bool {
        matches!(self.sockets.get(&connection), Some(Some(_)))
    }

    /// A connection ended, or its socket is not known any more.
    pub fn unbind(&mut self, connection: ConnectionKey) {
        self.sockets.remove(&connection);
    }

    /// Whether a message still waits.
    pub fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The next record that has its names, or has waited long enough.
    pub fn pop(&mut self) -> Option<Record> {
        let Waiting { deadline, named_by, known, chunk, socket, expects, .. } =
            self.waiting.front()?;
        let (container, unnamed) = self.source.container(&known.home, *chunk);
        let (peer, unknown) = self.source.peer(socket.as_deref(), *chunk);
        let before = |deadline: &Instant| Instant::now() < *deadline;
        if (unnamed && before(named_by)) || ((unknown || *expects) && before(deadline)) {
            return None;
        }
        let Waiting { message, known, chunk, socket, .. } = self.waiting.pop_front()?;
        let (number, pid) = (message.call.library, message.connection.pid);
        let tls = self.source.library(number, pid, chunk);
        if let Some(notes) = &mut self.notes {
            if let Some(names) = &container {
                notes.container(&known.home, names, Some(chunk));
            }
            notes.library(number, pid, tls.as_deref(), Some(chunk));
            if let Some(address) = socket.as_deref().and_then(address) {
                notes.peer(address, peer.as_deref(), Some(chunk));
            }
        }
        Some(Record {
            timestamp_ns: self.clock.timestamp_ns(message.began()),
            process: Arc::clone(&known.process),
            container,
            tls,
            socket,
            peer,
            message,
        })
    }

    /// Completes when [`Enricher::pop`] may give more; never when nothing waits.
    pub async fn ready(&self) {
        match (self.waiting.front(), &self.source) {
            (Some(Waiting { deadline, named_by, .. }), Source::Live(names, _)) => {
                let changed = async {
                    tokio::select! {
                        () = names.containers.changed() => {}
                        () = names.peers.changed() => {}
                    }
                };
                // Behind the first deadline only the container's name is waited for.
                let until = if Instant::now() < *deadline { *deadline } else { *named_by };
                let _ = timeout_at(until, changed).await;
            }
            (Some(_), Source::Recorded(_)) => {}
            (None, _) => std::future::pending().await,
        }
    }
}
