//! The libraries that are probed, by the agent's number.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::Library;

/// All libraries that were ever probed; numbers are not used again.
#[derive(Debug, Default)]
pub struct Libraries {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    libraries: Vec<Arc<Library>>,
    /// By process and number: where a process knows a library's file by another path than the first
    /// one did.
    others: HashMap<(u32, u32), Arc<Library>>,
}

impl Libraries {
    /// Adds a library and gives its number.
    pub fn add(&self, library: Library) -> u32 {
        self.with(|entries| {
            entries.libraries.push(library.into());
            u32::try_from(entries.libraries.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Notes under which path a process knows the library's file.
    pub fn note_path(&self, number: u32, pid: u32, path: &str) {
        self.with(|entries| {
            let known = usize::try_from(number).ok().and_then(|n| entries.libraries.get(n));
            if let Some(library) = known.filter(|library| library.path != path) {
                let other = Library { path: path.to_owned(), ..Library::clone(library) };
                entries.others.insert((pid, number), other.into());
            }
        });
    }

    /// Sets the name and version of a library, found after it was attached.
    pub fn set_version(&self, number: u32, name: &'static str, version: &str) {
        self.with(|entries| {
            let library = usize::try_from(number).ok().and_then(|n| entries.libraries.get_mut(n));
            let others = entries.others.iter_mut().filter(|((_, of), _)| *of == number);
            for library in library.into_iter().chain(others.map(|(_, library)| library)) {
                let library = Arc::make_mut(library);
                library.name = name.into();
                library.version = Some(version.to_owned());
            }
        });
    }

    /// Forgets the paths of a process that ended.
    pub fn forget(&self, pid: u32) {
        self.with(|entries| entries.others.retain(|(user, _), _| *user != pid));
    }

    /// The library as the process knows it.
    pub(crate) fn look_up(&self, number: u32, pid: u32) -> Option<Arc<Library>> {
        self.with(|entries| {
            let first = || entries.libraries.get(usize::try_from(number).ok()?);
            entries.others.get(&(pid, number)).or_else(first).map(Arc::clone)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Entries) -> T) -> T {
        // No code that holds the lock panics half-way through a change.
        work(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
