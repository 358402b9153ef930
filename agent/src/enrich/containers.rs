//! Names of containers by id, cached. A name that is asked for is looked up in the background;
//! whoever needs it waits as long as it likes.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, mpsc};

use super::{Container, cgroup::ContainerId};

/// How long a container that no runtime knew is not asked for again.
const RETRY: Duration = Duration::from_secs(5);

/// How long what is known of a container is kept in which no process is known to live: it may be made
/// long before its first one, and records of its last ones may still wait for the output.
const KEPT: Duration = Duration::from_secs(600);

/// What is known of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// Its names.
    Known(Arc<Container>),
    /// A runtime is being asked.
    Pending,
    /// No runtime answers for it.
    Unknown,
}

/// The names of all containers.
#[derive(Debug)]
pub struct Containers {
    entries: Mutex<HashMap<String, Entry>>,
    wanted: mpsc::UnboundedSender<String>,
    changed: Notify,
}

#[derive(Debug)]
struct Entry {
    lookup: Lookup,
    since: Instant,
}

impl Containers {
    /// Ids that are wanted come out of the receiver, for runtimes to look up.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (wanted, receiver) = mpsc::unbounded_channel();
        (Self { entries: Mutex::default(), wanted, changed: Notify::new() }, receiver)
    }

    /// What is known now; what is not known is asked for.
    pub(crate) fn look_up(&self, container: &ContainerId) -> Lookup {
        let now = Instant::now();
        let mut entries = self.lock();
        if let Some(entry) = entries.get(&container.id)
            && (entry.lookup != Lookup::Unknown || now.duration_since(entry.since) < RETRY)
        {
            return entry.lookup.clone();
        }
        let asked = self.wanted.send(container.id.clone()).is_ok();
        let lookup = if asked { Lookup::Pending } else { Lookup::Unknown };
        let entry = Entry { lookup: lookup.clone(), since: now };
        entries.insert(container.id.clone(), entry);
        lookup
    }

    /// A runtime's answer, asked for or not. `None`: it does not know the id.
    pub(crate) fn learn(&self, id: &str, container: Option<Container>) {
        let mut entries = self.lock();
        let known = matches!(entries.get(id), Some(Entry { lookup: Lookup::Known(_), .. }));
        let lookup = match container {
            Some(container) => Lookup::Known(container.into()),
            // A container that ended keeps its name.
            None if known => return,
            None => Lookup::Unknown,
        };
        entries.insert(id.to_owned(), Entry { lookup, since: Instant::now() });
        drop(entries);
        // All who wait, and whoever is about to.
        self.changed.notify_waiters();
        self.changed.notify_one();
    }

    /// Whether there is a name for it already.
    pub(crate) fn knows(&self, id: &str) -> bool {
        matches!(self.lock().get(id), Some(Entry { lookup: Lookup::Known(_), .. }))
    }

    /// Forgets the containers that are not among those `lived_in`, some time after they were learnt. A
    /// runtime is asked again when one is needed after all.
    pub(crate) fn expire(&self, now: Instant, lived_in: &HashSet<String>) {
        self.lock().retain(|id, entry| {
            lived_in.contains(id) || now.saturating_duration_since(entry.since) < KEPT
        });
    }

    /// Completes at the next answer, or at once if there was one since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        // No code that holds the lock panics half-way through a change.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_that_are_gone_are_forgotten() {
        let (containers, _wanted) = Containers::new();
        for id in ["lived-in", "gone"] {
            containers.learn(id, Some(Container::default()));
        }
        containers.look_up(&ContainerId { id: "asked-for".to_owned(), runtime: None });
        let lived_in = HashSet::from(["lived-in".to_owned()]);
        containers.expire(Instant::now(), &lived_in);
        assert_eq!(containers.lock().len(), 3, "too early");
        containers.expire(Instant::now() + KEPT, &lived_in);
        assert!(containers.knows("lived-in"));
        assert_eq!(containers.lock().len(), 1);
    }
}
