//! The names in a recording, as the trace that made it knew them.

use std::{collections::HashMap, hash::Hash, net::IpAddr, sync::Arc};

use super::{
    Container, Library, Note, Process,
    cgroup::ContainerId,
    clock::Clock,
    containers::Lookup,
    processes::{Home, Known},
};

/// Names from notes.
///
/// Those of containers and libraries must all be there before the first record is made, since
/// they became known later than what they name; those of processes hold from where they stand.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    offset: i64,
    processes: HashMap<u32, Arc<Known>>,
    containers: HashMap<String, History<Arc<Container>>>,
    libraries: HashMap<(u32, u32), History<Option<Arc<Library>>>>,
    peers: HashMap<IpAddr, History<Option<Arc<str>>>>,
}

impl Recorded {
    /// Takes what is needed before the first record.
    pub(crate) fn prepare(&mut self, note: Note) {
        match note {
            Note::Clock { offset } => self.offset = offset,
            Note::Process(_) | Note::Socket { .. } => {}
            Note::Container { id, names, used } => {
                add(&mut self.containers, id, names.into(), used)
            }
            Note::Library { number, pid, library, used } => {
                add(&mut self.libraries, (pid, number), library.map(Arc::new), used);
            }
            Note::Peer { address, name, used } => {
                add(&mut self.peers, address, name.map(Arc::from), used);
            }
        }
    }

    /// Takes what holds from here on.
    pub(super) fn advance(&mut self, note: Note) {
        if let Note::Process(known) = note {
            self.processes.insert(known.process.pid, known.into());
        }
    }

    pub(super) fn clock(&self) -> Clock {
        Clock::at_offset(self.offset)
    }

    /// A process at this place of the recording.
    pub(super) fn know(&self, pid: u32) -> Arc<Known> {
        self.processes.get(&pid).map_or_else(
            || {
                let process = Process { pid, ..Process::default() }.into();
                Known { process, home: Home::Host }.into()
            },
            Arc::clone,
        )
    }

    /// A container as a record of this chunk has it.
    pub(super) fn container(&self, id: &ContainerId, chunk: u64) -> Lookup {
        let names = self.containers.get(&id.id).and_then(|history| history.at(chunk));
        names.cloned().map_or(Lookup::Unknown, Lookup::Known)
    }

    /// A library as a record of this chunk has it.
    pub(super) fn library(&self, number: u32, pid: u32, chunk: u64) -> Option<Arc<Library>> {
        self.libraries.get(&(pid, number))?.at(chunk)?.clone()
    }

    /// The name of the other side as a record of this chunk has it.
    pub(super) fn peer(&self, address: IpAddr, chunk: u64) -> Option<Arc<str>> {
        self.peers.get(&address)?.at(chunk)?.clone()
    }
}

/// What something was at which time.
#[derive(Debug)]
struct History<T> {
    /// Known before a record used it.
    early: Option<T>,
    /// With the chunk from which on records used it, in order.
    used: Vec<(u64, T)>,
}

impl<T> History<T> {
    /// What the records of a chunk used. Before the first that used something, what that one did:
    /// a replay may decode more than the trace.
    fn at(&self, chunk: u64) -> Option<&T> {
        let begun = self.used.partition_point(|(from, _)| *from <= chunk);
        let used = self.used.get(begun.saturating_sub(1)).map(|(_, value)| value);
        used.or(self.early.as_ref())
    }
}

fn add<K: Eq + Hash, T>(map: &mut HashMap<K, History<T>>, key: K, value: T, used: Option<u64>) {
    let history = map.entry(key).or_insert(History { early: None, used: Vec::new() });
    match used {
        Some(from) => history.used.push((from, value)),
        None => history.early = Some(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Container {
        Container { name: Some(name.to_owned()), ..Container::default() }
    }

    #[test]
    fn names_as_records_used_them() {
        let id = ContainerId { id: "cafe".to_owned(), runtime: None };
        let mut recorded = Recorded::default();
        assert_eq!(recorded.container(&id, 1), Lookup::Unknown);
        let mut note = |name, used| {
            recorded.prepare(Note::Container { id: id.id.clone(), names: named(name), used });
            [1, 4, 5, 9].map(|chunk| match recorded.container(&id, chunk) {
                Lookup::Known(container) => container.name.clone().unwrap_or_default(),
                unknown => panic!("{unknown:?}"),
            })
        };
        assert_eq!(note("early", None), ["early"; 4]);
        assert_eq!(note("a", Some(3)), ["a"; 4]);
        assert_eq!(note("b", Some(5)), ["a", "a", "b", "b"]);
    }

    #[test]
    fn the_other_side_by_its_address() {
        let address = IpAddr::from([10, 0, 0, 2]);
        let mut recorded = Recorded::default();
        assert_eq!(recorded.peer(address, 1), None);
        for (name, used) in [(None, 2), (Some("web".to_owned()), 4)] {
            recorded.prepare(Note::Peer { address, name, used: Some(used) });
        }
        let names = [1, 3, 4].map(|chunk| recorded.peer(address, chunk));
        assert_eq!(names, [None, None, Some("web".into())]);
    }

    #[test]
    fn a_process_from_where_it_stands() {
        let mut recorded = Recorded::default();
        assert_eq!(recorded.know(41).process.pid, 41);
        let process = Process { pid: 41, command: Some("curl".to_owned()), executable: None };
        let known = Known { process: process.into(), home: Home::Host };
        recorded.prepare(Note::Process(known.clone()));
        assert_eq!(recorded.know(41).process.command, None);
        recorded.advance(Note::Process(known.clone()));
        assert_eq!(*recorded.know(41), known);
    }
}
