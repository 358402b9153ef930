//! The libraries that are probed, by the agent's number.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::Library;

/// All libraries that are probed, or were a moment ago; numbers are not used again.
#[derive(Debug, Default)]
pub struct Libraries {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    libraries: HashMap<u32, Arc<Library>>,
    /// The number of the next one.
    next: u32,
    /// By process and number: where a process knows a library's file by another path than the first
    /// one did.
    others: HashMap<(u32, u32), Arc<Library>>,
}

impl Entries {
    fn insert(&mut self, library: Arc<Library>) -> u32 {
        let number = self.next;
        self.next = number.wrapping_add(1);
        self.libraries.insert(number, library);
        number
    }
}

impl Libraries {
    /// Adds a library and gives its number.
    pub fn add(&self, library: Library) -> u32 {
        self.with(|entries| entries.insert(library.into()))
    }

    /// Adds a library that is there already, and is probed anew: it is the same one under another number.
    pub fn add_again(&self, number: u32) -> Option<u32> {
        self.with(|entries| {
            let library = Arc::clone(entries.libraries.get(&number)?);
            Some(entries.insert(library))
        })
    }

    /// Notes under which path a process knows the library's file.
    pub fn note_path(&self, number: u32, pid: u32, path: &str) {
        self.with(|entries| {
            let known = entries.libraries.get(&number);
            if let Some(library) = known.filter(|library| library.path != path) {
                let other = Library { path: path.to_owned(), ..Library::clone(library) };
                entries.others.insert((pid, number), other.into());
            }
        });
    }

    /// Sets the name and version of a library, found after it was attached.
    pub fn set_version(&self, number: u32, name: &'static str, version: &str) {
        self.with(|entries| {
            let library = entries.libraries.get_mut(&number);
            let others = entries.others.iter_mut().filter(|((_, of), _)| *of == number);
            for library in library.into_iter().chain(others.map(|(_, library)| library)) {
                let library = Arc::make_mut(library);
                library.name = name.into();
                library.version = Some(version.to_owned());
            }
        });
    }

    /// Forgets a library that is probed no more, and of which no record is under way.
    pub fn remove(&self, number: u32) {
        self.with(|entries| {
            entries.libraries.remove(&number);
            entries.others.retain(|(_, of), _| *of != number);
        });
    }

    /// Keeps the paths of only these processes: for a resync.
    pub fn retain_processes(&self, alive: &HashSet<u32>) {
        self.with(|entries| entries.others.retain(|(user, _), _| alive.contains(user)));
    }

    /// Forgets the paths of a process that ended.
    pub fn forget(&self, pid: u32) {
        self.with(|entries| entries.others.retain(|(user, _), _| *user != pid));
    }

    /// Forgets the paths of all processes.
    pub fn forget_paths(&self) {
        self.with(|entries| entries.others.clear());
    }

    /// The library as the process knows it.
    pub(crate) fn look_up(&self, number: u32, pid: u32) -> Option<Arc<Library>> {
        self.with(|entries| {
            let first = || entries.libraries.get(&number);
            entries.others.get(&(pid, number)).or_else(first).map(Arc::clone)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Entries) -> T) -> T {
        // No code that holds the lock panics half-way through a change.
        work(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_is_gone_and_its_number_too() {
        let library = || Library { name: "openssl".into(), version: None, path: "/a".to_owned() };
        let libraries = Libraries::default();
        let [first, second] = [library(), library()].map(|library| libraries.add(library));
        for pid in [7, 8] {
            libraries.note_path(first, pid, "/b");
            libraries.note_path(second, pid, "/c");
        }
        libraries.remove(first);
        assert_eq!(libraries.look_up(first, 7), None);
        assert_eq!(libraries.look_up(second, 7).unwrap().path, "/c");
        libraries.retain_processes(&HashSet::from([8]));
        assert_eq!(libraries.look_up(second, 7).unwrap().path, "/a");
        assert_eq!(libraries.look_up(second, 8).unwrap().path, "/c");
        let third = libraries.add(library());
        assert!(third != first && third != second);
        let held = libraries.with(|entries| (entries.libraries.len(), entries.others.len()));
        assert_eq!(held, (2, 1));
    }
}
