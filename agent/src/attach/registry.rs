//! Which real files are probed, and by whom they are used: a file is probed once, however many
//! processes map it, and left some time after the last one is gone.

use std::{
    collections::{HashMap, HashSet},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::Attachment;
use crate::resolve::FileKey;

/// How long an attachment without users stays. Attaching again costs more than keeping it, and
/// images are often started again.
///
/// Longer than two resyncs of /proc, so that a user that was missed is found first.
const LINGER: Duration = Duration::from_secs(150);

/// Who a file is probed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum User {
    /// A process that maps it.
    Process(u32),
    /// A mounted root that holds it, whose processes are still to come.
    Mount(i32),
}

/// One probed file.
#[derive(Debug)]
struct Usage {
    library: u32,
    attachment: Attachment,
    users: HashSet<User>,
    unused_since: Option<Instant>,
}

/// All probed files.
#[derive(Debug)]
pub struct Registry {
    files: HashMap<FileKey, Usage>,
    /// Takes attachments to be dropped off this thread: detaching takes long.
    detach: mpsc::Sender<Attachment>,
}

impl Default for Registry {
    fn default() -> Self {
        let (detach, dropped) = mpsc::channel::<Attachment>();
        thread::spawn(move || dropped.into_iter().for_each(drop));
        Self { files: HashMap::new(), detach }
    }
}

impl Registry {
    /// The number of the library of a file that is probed already, for one more user.
    pub fn reuse(&mut self, key: &FileKey, user: User) -> Option<u32> {
        let usage = self.files.get_mut(key)?;
        usage.users.insert(user);
        usage.unused_since = None;
        Some(usage.library)
    }

    /// Adds a file with its first user.
    pub fn insert(&mut self, key: FileKey, library: u32, attachment: Attachment, user: User) {
        let users = HashSet::from([user]);
        self.files.insert(key, Usage { library, attachment, users, unused_since: None });
    }

    /// A process was forked: it uses what its parent uses.
    pub fn fork(&mut self, parent: u32, pid: u32) {
        for usage in self.files.values_mut() {
            if usage.users.contains(&User::Process(parent)) {
                usage.users.insert(User::Process(pid));
            }
        }
    }

    /// Takes a process that ended, or a root that was unmounted, off the users.
    pub fn leave(&mut self, user: User, now: Instant) {
        for usage in self.files.values_mut() {
            if usage.users.remove(&user) && usage.users.is_empty() {
                usage.unused_since = Some(now);
            }
        }
    }

    /// Keeps only the processes that still exist: for a resync.
    pub fn retain_processes(&mut self, alive: &HashSet<u32>, now: Instant) {
        for usage in self.files.values_mut() {
            usage.users.retain(|user| match user {
                User::Process(pid) => alive.contains(pid),
                User::Mount(_) => true,
            });
            if usage.users.is_empty() {
                usage.unused_since.get_or_insert(now);
            }
        }
    }

    /// Detaches, in the background, what has had no user for some time. Gives their libraries.
    pub fn expire(&mut self, now: Instant) -> Vec<u32> {
        let expired: Vec<FileKey> = self
            .files
            .iter()
            .filter(|(_, usage)| {
                usage.unused_since.is_some_and(|since| now.duration_since(since) >= LINGER)
            })
            .map(|(key, _)| *key)
            .collect();
        let mut libraries = Vec::new();
        for key in expired {
            if let Some(usage) = self.files.remove(&key) {
                libraries.push(usage.library);
                let _ = self.detach.send(usage.attachment);
            }
        }
        libraries
    }

    /// How many files are probed, and how many processes use them.
    pub fn count(&self) -> (usize, usize) {
        let processes: HashSet<_> = self
            .files
            .values()
            .flat_map(|usage| &usage.users)
            .filter(|user| matches!(user, User::Process(_)))
            .collect();
        (self.files.len(), processes.len())
    }
}
