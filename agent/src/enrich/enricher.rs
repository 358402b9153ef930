//! The queue of messages that become records, in order.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use super::{
    Container, Libraries, Peers, Process, Processes, Record,
    clock::Clock,
    containers::{Containers, Lookup},
    peers::Owner,
    processes::{Home, Known},
    runtimes,
};
use crate::{
    capture::{ConnectionKey, Endpoints, Socket},
    decode::Message,
};

/// The longest that a record waits for its container's name.
pub const NAME_DEADLINE: Duration = Duration::from_millis(50);

/// What names come from, shared with the stages that learn them.
#[derive(Clone, Debug)]
pub struct Names {
    /// Processes.
    pub processes: Arc<Processes>,
    /// Containers.
    pub containers: Arc<Containers>,
    /// Libraries.
    pub libraries: Arc<Libraries>,
    /// Addresses.
    pub peers: Arc<Peers>,
}

impl Names {
    /// Reads processes from the given /proc, and asks container runtimes in the background until
    /// the handle is aborted. Must be called in a tokio runtime.
    pub fn start(proc: &Path) -> (Self, AbortHandle) {
        let (containers, wanted) = Containers::new();
        let containers = Arc::new(containers);
        let runtimes = tokio::spawn(runtimes::serve(Arc::clone(&containers), wanted));
        let names = Self {
            processes: Arc::new(Processes::new(proc)),
            containers,
            libraries: Arc::default(),
            peers: Arc::new(Peers::new(proc)),
        };
        (names, runtimes.abort_handle())
    }

    /// The container of a process, as far as it is known now; `None` on the host. The flag says
    /// whether more may become known soon.
    pub(crate) fn container(&self, home: &Home) -> (Option<Container>, bool) {
        match home {
            Home::Host => (None, false),
            Home::Root { name } => {
                (Some(Container { name: Some(name.clone()), ..Container::default() }), false)
            }
            Home::Container(id) => match self.containers.look_up(id) {
                Lookup::Known(container) => (Some(container), false),
                unnamed => {
                    let container = Container {
                        id: Some(id.id.clone()),
                        runtime: id.runtime.map(str::to_owned),
                        ..Container::default()
                    };
                    (Some(container), unnamed == Lookup::Pending)
                }
            },
        }
    }
}

impl Names {
    /// What is known about a process.
    pub fn process(&self, pid: u32) -> Process {
        self.processes.know(pid).process
    }

    /// A process and its container, as far as they are known now, and whether more may become
    /// known of the container soon.
    pub(crate) fn process_and_container(&self, pid: u32) -> (Process, Option<Container>, bool) {
        let known = self.processes.know(pid);
        let (container, pending) = self.container(&known.home);
        (known.process, container, pending)
    }

    /// The name of the container or pod that is a socket's other side, as far as it is known now,
    /// and whether more may become known soon.
    fn peer(&self, socket: Option<&Socket>) -> (Option<Arc<str>>, bool) {
        let Some(Endpoints::Tcp { peer, .. }) = socket.map(|socket| &socket.endpoints) else {
            return (None, false);
        };
        match self.peers.look_up(peer.ip(), &self.processes) {
            Owner::Unknown => (None, false),
            Owner::Pending => (None, true),
            Owner::Known(homes) => {
                let looked: Vec<_> = homes.iter().map(|home| self.container(home)).collect();
                let pending = looked.iter().any(|(_, pending)| *pending);
                (name_of(looked.into_iter().filter_map(|(container, _)| container)), pending)
            }
        }
    }

    /// The container of a process, named if a runtime answers before the deadline.
    pub async fn container_by(&self, pid: u32, deadline: Instant) -> Option<Container> {
        let home = self.processes.know(pid).home;
        loop {
            let (container, pending) = self.container(&home);
            if !pending || timeout_at(deadline, self.containers.changed()).await.is_err() {
                return container;
            }
        }
    }
}

/// The name of containers that share a network: their pod's, else that of the only one.
fn name_of(containers: impl Iterator<Item = Container>) -> Option<Arc<str>> {
    let mut names = Vec::new();
    for container in containers {
        if let Some(pod) = container.pod {
            return Some(format!("{}/{}", pod.namespace, pod.name).into());
        }
        names.extend(container.name);
    }
    match names.as_slice() {
        [name] => Some(name.as_str().into()),
        _ => None,
    }
}

/// A message that may still get a name.
#[derive(Debug)]
struct Waiting {
    deadline: Instant,
    message: Message,
    known: Known,
    socket: Option<Arc<Socket>>,
}

/// Turns messages into records, in the order given.
#[derive(Debug)]
pub struct Enricher {
    names: Names,
    clock: Clock,
    waiting: VecDeque<Waiting>,
    sockets: HashMap<ConnectionKey, Arc<Socket>>,
}

impl Enricher {
    /// Takes names from the given caches.
    pub fn new(names: Names) -> Self {
        Self { names, clock: Clock::now(), waiting: VecDeque::new(), sockets: HashMap::new() }
    }

    /// Adds a message; its process is looked at now.
    pub fn push(&mut self, message: Message) {
        let known = self.names.processes.know(message.connection.pid);
        let socket = self.sockets.get(&message.connection).cloned();
        let deadline = Instant::now() + NAME_DEADLINE;
        self.waiting.push_back(Waiting { deadline, message, known, socket });
    }

    /// The socket of a connection became known.
    pub fn bind(&mut self, connection: ConnectionKey, socket: Socket) {
        self.sockets.insert(connection, Arc::new(socket));
    }

    /// Whether the socket of a connection is known.
    pub fn is_bound(&self, connection: ConnectionKey) -> bool {
        self.sockets.contains_key(&connection)
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
        let Waiting { deadline, known, socket, .. } = self.waiting.front()?;
        let (container, unnamed) = self.names.container(&known.home);
        let (peer, unknown) = self.names.peer(socket.as_deref());
        if (unnamed || unknown) && Instant::now() < *deadline {
            return None;
        }
        let Waiting { message, known, socket, .. } = self.waiting.pop_front()?;
        Some(Record {
            timestamp_ns: self.clock.timestamp_ns(message.began()),
            process: known.process,
            container,
            tls: self.names.libraries.look_up(message.call.library, message.connection.pid),
            socket,
            peer,
            message,
        })
    }

    /// Completes when [`Enricher::pop`] may give more; never when nothing waits.
    pub async fn ready(&self) {
        match self.waiting.front() {
            Some(Waiting { deadline, .. }) => {
                let changed = async {
                    tokio::select! {
                        () = self.names.containers.changed() => {}
                        () = self.names.peers.changed() => {}
                    }
                };
                let _ = timeout_at(*deadline, changed).await;
            }
            None => std::future::pending().await,
        }
    }
}
