//! The libraries that are probed, by the agent's number.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::Library;

/// All libraries that were ever probed; numbers are not used again.
#[derive(Debug, Default)]
pub struct Libraries {
    entries: Mutex<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    libraries: Vec<Library>,
    /// Where a process knows a library's file by another path than the first one did.
    paths: HashMap<(u32, u32), String>,
}

impl Libraries {
    /// Adds a library and gives its number.
    pub fn add(&self, library: Library) -> u32 {
        self.with(|entries| {
            entries.libraries.push(library);
            u32::try_from(entries.libraries.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Notes under which path a process knows the library's file.
    pub fn note_path(&self, number: u32, pid: u32, path: &str) {
        self.with(|entries| {
            let known = usize::try_from(number).ok().and_then(|n| entries.libraries.get(n));
            if known.is_some_and(|library| library.path != path) {
                entries.paths.insert((pid, number), path.to_owned());
            }
        });
    }

    /// Sets the name and version of a library, found after it was attached.
    pub fn set_version(&self, number: u32, name: &'static str, version: String) {
        self.with(|entries| {
            let library = usize::try_from(number).ok().and_then(|n| entries.libraries.get_mut(n));
            if let Some(library) = library {
                library.name = name.into();
                library.version = Some(version);
            }
        });
    }

    /// Forgets the paths of a process that ended.
    pub fn forget(&self, pid: u32) {
        self.with(|entries| entries.paths.retain(|(user, _), _| *user != pid));
    }

    /// The library as the process knows it.
    pub(crate) fn look_up(&self, number: u32, pid: u32) -> Option<Library> {
        self.with(|entries| {
            let mut library = entries.libraries.get(usize::try_from(number).ok()?)?.clone();
            if let Some(path) = entries.paths.get(&(pid, number)) {
                library.path.clone_from(path);
            }
            Some(library)
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Entries) -> T) -> T {
        // No code that holds the lock panics half-way through a change.
        work(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
