//! What becomes known of names, for a recording: each thing once, and again when it changes.
//!
//! A record takes its container's and its library's names when it leaves the enricher, later than
//! the chunk that it comes from, so a note says which chunk's record used what.

use std::{collections::HashMap, hash::Hash, net::IpAddr};

use serde::{Deserialize, Serialize};

use super::{
    Container, Library,
    clock::Clock,
    processes::{Home, Known},
};
use crate::capture::{ConnectionKey, Socket};

/// How much is remembered of what was noted. What is forgotten is noted again, which is no harm.
const MAX_REMEMBERED: usize = 1 << 16;

/// Something that became known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Note {
    /// The clock of all time stamps.
    Clock {
        /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC`, nanoseconds.
        offset: i64,
    },
    /// What a process is, for the chunks that follow.
    Process(Known),
    /// The socket of a connection, which no chunk tells, for the chunks that follow.
    Socket {
        /// The connection.
        connection: ConnectionKey,
        /// Its socket.
        socket: Socket,
    },
    /// The names of a container.
    Container {
        /// As the runtime numbers it.
        id: String,
        /// All that is known.
        names: Container,
        /// The number of the chunk (the first is 1) from which on records used them; absent when
        /// none has done so yet.
        used: Option<u64>,
    },
    /// What a library is to a process.
    Library {
        /// The agent's number of it.
        number: u32,
        /// The process.
        pid: u32,
        /// All that is known.
        library: Option<Library>,
        /// As for a container.
        used: Option<u64>,
    },
    /// The container or pod of this node that has an address.
    Peer {
        /// The address.
        address: IpAddr,
        /// Its name, if it has one.
        name: Option<String>,
        /// As for a container.
        used: Option<u64>,
    },
}

/// Collects notes.
#[derive(Debug)]
pub(super) struct Notes {
    fresh: Vec<Note>,
    processes: HashMap<u32, Known>,
    containers: HashMap<String, Noted<Container>>,
    libraries: HashMap<(u32, u32), Noted<Option<Library>>>,
    peers: HashMap<IpAddr, Noted<Option<String>>>,
}

/// The last that was noted.
#[derive(Debug)]
struct Noted<T> {
    value: T,
    used: bool,
}

impl Notes {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            fresh: vec![Note::Clock { offset: clock.offset() }],
            processes: HashMap::new(),
            containers: HashMap::new(),
            libraries: HashMap::new(),
            peers: HashMap::new(),
        }
    }

    /// The notes since the last time.
    pub(super) fn take(&mut self) -> Vec<Note> {
        std::mem::take(&mut self.fresh)
    }

    /// What a process is now.
    pub(super) fn process(&mut self, known: &Known) {
        let pid = known.process.pid;
        if self.processes.get(&pid) == Some(known) {
            return;
        }
        make_room(&mut self.processes);
        self.processes.insert(pid, known.clone());
        self.fresh.push(Note::Process(known.clone()));
    }

    /// The socket of a connection became known.
    pub(super) fn socket(&mut self, connection: ConnectionKey, socket: &Socket) {
        self.fresh.push(Note::Socket { connection, socket: socket.clone() });
    }

    /// The names of a process's container: as a record of chunk `used` has them, or as they are
    /// known while no record needs them.
    pub(super) fn container(&mut self, home: &Home, names: &Container, used: Option<u64>) {
        let Home::Container(id) = home else { return };
        if note(&mut self.containers, &id.id, names, used) {
            let (id, names) = (id.id.clone(), names.clone());
            self.fresh.push(Note::Container { id, names, used });
        }
    }

    /// What a library is to a process; `used` as for a container.
    pub(super) fn library(
        &mut self,
        number: u32,
        pid: u32,
        library: Option<&Library>,
        used: Option<u64>,
    ) {
        let library = library.cloned();
        if note(&mut self.libraries, &(pid, number), &library, used) {
            self.fresh.push(Note::Library { number, pid, library, used });
        }
    }

    /// The name of the other side; `used` as for a container.
    pub(super) fn peer(&mut self, address: IpAddr, name: Option<&str>, used: Option<u64>) {
        let name = name.map(str::to_owned);
        if note(&mut self.peers, &address, &name, used) {
            self.fresh.push(Note::Peer { address, name, used });
        }
    }
}

/// Whether this is new. What no record has used is of no interest once one has used something.
fn note<K, T>(noted: &mut HashMap<K, Noted<T>>, key: &K, value: &T, used: Option<u64>) -> bool
where
    K: Clone + Eq + Hash,
    T: Clone + PartialEq,
{
    let used = used.is_some();
    if let Some(last) = noted.get(key)
        && ((last.used && !used) || (last.used == used && last.value == *value))
    {
        return false;
    }
    make_room(noted);
    noted.insert(key.clone(), Noted { value: value.clone(), used });
    true
}

fn make_room<K, V>(map: &mut HashMap<K, V>) {
    if map.len() >= MAX_REMEMBERED {
        map.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::enrich::{Process, cgroup::ContainerId};

    fn home() -> Home {
        Home::Container(ContainerId { id: "cafe".to_owned(), runtime: None })
    }

    fn named(name: &str) -> Container {
        Container { name: Some(name.to_owned()), ..Container::default() }
    }

    fn notes() -> Notes {
        let mut notes = Notes::new(Clock::at_offset(5));
        assert_eq!(notes.take(), [Note::Clock { offset: 5 }]);
        notes
    }

    #[test]
    fn a_process_when_it_changes() {
        let mut notes = notes();
        let mut known =
            Known { process: Process { pid: 41, ..Process::default() }.into(), home: home() };
        notes.process(&known);
        notes.process(&known);
        assert_eq!(notes.take(), [Note::Process(known.clone())]);
        Arc::make_mut(&mut known.process).command = Some("curl".to_owned());
        notes.process(&known);
        assert_eq!(notes.take(), [Note::Process(known)]);
    }

    #[test]
    fn names_when_they_change() {
        let mut notes = notes();
        let mut note = |names: &str, used| {
            notes.container(&home(), &named(names), used);
            !notes.take().is_empty()
        };
        assert!(note("a", None));
        assert!(!note("a", None));
        assert!(note("b", None));
        assert!(note("b", Some(1)), "a record uses it");
        assert!(!note("b", Some(2)));
        assert!(!note("c", None), "records tell");
        assert!(note("c", Some(3)));
    }

    #[test]
    fn a_host_has_no_names() {
        let mut notes = notes();
        notes.container(&Home::Host, &named("a"), Some(1));
        assert!(notes.take().is_empty());
    }
}
