//! Which real files are probed, and by whom they are used: a file is probed once, however many
//! processes map it, and left some time after the last one is gone. Where it is probed for single
//! processes, it is probed once for each.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::Scope;
use crate::{
    privilege::{self, Part},
    resolve::{FileKey, RealFile, Stamp},
};

/// How long an attachment without users stays. Attaching again costs more than keeping it, and
/// images are often started again.
///
/// Longer than two resyncs of /proc, so that a user that was missed is found first.
const LINGER: Duration = Duration::from_secs(150);

/// How long what is replaced stays: calls that were entered before the new probes were in place are
/// told by the old ones.
const GRACE: Duration = Duration::from_secs(1);

/// Most that stay so.
const MAX_REPLACED: usize = 4;

/// Most attachments that wait to be dropped.
const MAX_DETACHING: usize = 4;

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
struct Usage<A> {
    library: u32,
    stamp: Stamp,
    attachment: A,
    /// When the probes were in place.
    attached: Instant,
    users: HashSet<User>,
    unused_since: Option<Instant>,
}

/// All probed files; `A` is what dropping detaches.
#[derive(Debug)]
pub struct Registry<A> {
    files: HashMap<(FileKey, Scope), Usage<A>>,
    /// Of files that were written to since, and when: they stay until their files are probed anew, and
    /// [`GRACE`] longer.
    replaced: VecDeque<(Instant, A)>,
    /// The numbers of libraries that are probed no more, and since when: their last records may still be
    /// under way.
    gone: VecDeque<(Instant, u32)>,
    /// Takes attachments to be dropped off this thread: detaching takes long. When files change faster
    /// than that, this thread waits.
    detach: mpsc::SyncSender<A>,
}

impl<A: Send + 'static> Default for Registry<A> {
    fn default() -> Self {
        let (detach, dropped) = mpsc::sync_channel::<A>(MAX_DETACHING);
        thread::spawn(move || {
            // For those who look; nothing depends on it.
            let _ = rustix::thread::set_name(c"tlstap-detach");
            privilege::keep(Part::Nothing);
            dropped.into_iter().for_each(drop);
        });
        let (replaced, gone) = (VecDeque::new(), VecDeque::new());
        Self { files: HashMap::new(), replaced, gone, detach }
    }
}

impl<A> Registry<A> {
    /// The number of the library of a file that is probed already, for one more user. A file that
    /// was written to since is to be probed anew: its functions may lie elsewhere now.
    pub fn reuse(&mut self, file: &RealFile, scope: Scope, user: User) -> Option<u32> {
        let place = self.place(file, scope)?;
        if self.files.get(&place)?.stamp != file.stamp {
            let changed = self.files.remove(&place)?;
            self.gone.push_back((Instant::now(), changed.library));
            self.replaced.push_back((Instant::now(), changed.attachment));
            return None;
        }
        let usage = self.files.get_mut(&place)?;
        usage.users.insert(user);
        usage.unused_since = None;
        Some(usage.library)
    }

    /// How a file is known. In an overlay whose layers were not visible, it shows the inode number and
    /// the times that it has; it is to be probed once all the same.
    fn place(&self, file: &RealFile, scope: Scope) -> Option<(FileKey, Scope)> {
        let own = (file.key, scope);
        if self.files.contains_key(&own) {
            return Some(own);
        }
        let same = |(place, usage): (&(FileKey, Scope), &Usage<A>)| {
            let (key, its_scope) = *place;
            (its_scope == scope && usage.stamp == file.stamp && key.may_be(file.key))
                .then_some(*place)
        };
        self.files.iter().find_map(same)
    }

    /// The number of the library of a file that is probed.
    pub fn library(&self, key: FileKey, scope: Scope) -> Option<u32> {
        self.files.get(&(key, scope)).map(|usage| usage.library)
    }

    /// Whether a file is probed, and was not yet at this time.
    pub fn attached_after(&self, key: FileKey, scope: Scope, time: Instant) -> bool {
        self.files.get(&(key, scope)).is_some_and(|usage| usage.attached > time)
    }

    /// The numbers of the libraries that a process uses.
    pub fn used_by(&self, pid: u32) -> Vec<u32> {
        self.files
            .values()
            .filter(|usage| usage.users.contains(&User::Process(pid)))
            .map(|usage| usage.library)
            .collect()
    }

    /// Adds a file with its first user.
    pub fn insert(
        &mut self,
        file: &RealFile,
        scope: Scope,
        library: u32,
        attachment: A,
        user: User,
    ) {
        let users = HashSet::from([user]);
        let stamp = file.stamp;
        let attached = Instant::now();
        let usage = Usage { library, stamp, attachment, attached, users, unused_since: None };
        self.files.insert((file.key, scope), usage);
        while self.replaced.len() > MAX_REPLACED {
            self.detach_replaced();
        }
    }

    /// Detaches, in the background, what was replaced first.
    fn detach_replaced(&mut self) {
        if let Some((_, attachment)) = self.replaced.pop_front() {
            self.detach(attachment);
        }
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

    /// Detaches, in the background, what has had no user for some time. Gives the numbers of libraries
    /// that nothing tells of any more.
    pub fn expire(&mut self, now: Instant) -> Vec<u32> {
        let unused = |usage: &Usage<A>| {
            usage.unused_since.is_some_and(|since| now.duration_since(since) >= LINGER)
        };
        while self.replaced.front().is_some_and(|(since, _)| now.duration_since(*since) >= GRACE) {
            self.detach_replaced();
        }
        let expired: Vec<_> = self.files.extract_if(|_, usage| unused(usage)).collect();
        for ((key, _), usage) in expired {
            tracing::debug!(%key, "no longer probed");
            self.gone.push_back((now, usage.library));
            self.detach(usage.attachment);
        }
        let silent = |(since, _): &mut (Instant, u32)| now.duration_since(*since) >= LINGER;
        let mut forgotten = Vec::new();
        while let Some((_, library)) = self.gone.pop_front_if(silent) {
            forgotten.push(library);
        }
        forgotten
    }

    /// Takes out what is probed for one process only.
    #[must_use]
    pub fn take(&mut self, pid: u32) -> Vec<A> {
        let only = Scope::Process(pid);
        let taken: Vec<_> = self.files.extract_if(|(_, scope), _| *scope == only).collect();
        self.let_go(taken.iter().map(|(_, usage)| usage.library));
        taken.into_iter().map(|(_, usage)| usage.attachment).collect()
    }

    /// Takes out all files, and what was replaced. Gives a number of the library in each file, too, which
    /// is kept until it is [let go](Self::let_go).
    #[must_use]
    pub fn take_all(&mut self) -> (Vec<A>, HashMap<(FileKey, Stamp), u32>) {
        let mut attachments: Vec<_> = self.replaced.drain(..).map(|(_, old)| old).collect();
        let mut libraries = HashMap::new();
        for ((key, _), usage) in self.files.drain() {
            let other = libraries.insert((key, usage.stamp), usage.library);
            self.gone.extend(other.map(|other| (Instant::now(), other)));
            attachments.push(usage.attachment);
        }
        (attachments, libraries)
    }

    /// These numbers of libraries are probed no more: [`Self::expire`] gives them in a while.
    pub fn let_go(&mut self, libraries: impl IntoIterator<Item = u32>) {
        let now = Instant::now();
        self.gone.extend(libraries.into_iter().map(|library| (now, library)));
    }

    /// The numbers of the libraries that are probed, one for each file.
    pub fn libraries(&self) -> impl Iterator<Item = u32> {
        let files: HashMap<_, _> =
            self.files.iter().map(|((key, _), usage)| (*key, usage.library)).collect();
        files.into_values()
    }

    /// How many files are probed, and how many processes use them.
    pub fn count(&self) -> (usize, usize) {
        let processes: HashSet<_> = self
            .files
            .values()
            .flat_map(|usage| &usage.users)
            .filter(|user| matches!(user, User::Process(_)))
            .collect();
        let files: HashSet<_> = self.files.keys().map(|(key, _)| key).collect();
        (files.len(), processes.len())
    }

    /// Detaches in the background.
    pub fn detach(&self, attachment: A) {
        // Without the thread it is dropped here: slower, not wrong.
        let _ = self.detach.send(attachment);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use super::*;
    use crate::resolve::identified;

    /// Waits until nothing but the test holds the attachment.
    fn assert_detached(attachment: &Arc<()>) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Arc::strong_count(attachment) > 1 {
            assert!(Instant::now() < deadline, "still attached");
            thread::yield_now();
        }
    }

    #[test]
    fn leaves_after_the_last_user() {
        let file = identified(tempfile::NamedTempFile::new().unwrap().path());
        let attachment = Arc::new(());
        let mut registry = Registry::default();
        registry.insert(&file, Scope::All, 7, Arc::clone(&attachment), User::Process(1));
        assert_eq!(registry.reuse(&file, Scope::All, User::Mount(1)), Some(7));
        registry.fork(1, 2);
        assert_eq!(registry.count(), (1, 2));

        let start = Instant::now();
        registry.leave(User::Process(1), start);
        registry.leave(User::Mount(1), start);
        registry.expire(start + 2 * LINGER);
        assert_eq!(registry.count(), (1, 1), "the child still uses it");

        registry.retain_processes(&HashSet::new(), start);
        registry.expire(start + LINGER / 2);
        assert_eq!(registry.count(), (1, 0));
        assert!(registry.expire(start + LINGER).is_empty(), "records may be under way");
        assert_eq!(registry.count(), (0, 0));
        assert_detached(&attachment);
        assert_eq!(registry.expire(start + 2 * LINGER), [7]);
        assert!(registry.expire(start + 3 * LINGER).is_empty());
    }

    #[test]
    fn a_user_that_comes_back_keeps_it() {
        let file = identified(tempfile::NamedTempFile::new().unwrap().path());
        let mut registry = Registry::default();
        registry.insert(&file, Scope::All, 7, (), User::Process(1));
        let start = Instant::now();
        registry.leave(User::Process(1), start);
        assert_eq!(registry.reuse(&file, Scope::All, User::Process(2)), Some(7));
        registry.expire(start + 2 * LINGER);
        assert_eq!(registry.count(), (1, 1));
    }

    #[test]
    fn a_process_of_its_own_is_another_place() {
        let file = identified(tempfile::NamedTempFile::new().unwrap().path());
        let (scopes, mut registry) = ([1, 2].map(Scope::Process), Registry::default());
        registry.insert(&file, scopes[0], 7, 'a', User::Process(1));
        assert_eq!(registry.reuse(&file, scopes[1], User::Process(2)), None);
        registry.insert(&file, scopes[1], 8, 'b', User::Process(2));
        assert_eq!(registry.count(), (1, 2));
        assert_eq!(registry.take(1), ['a']);
        assert_eq!(registry.expire(Instant::now() + LINGER), [7]);
        assert_eq!(registry.reuse(&file, scopes[0], User::Process(1)), None);
        assert_eq!(registry.reuse(&file, scopes[1], User::Process(2)), Some(8));
    }

    #[test]
    fn all_that_is_taken_out_is_forgotten_once_it_is_let_go() {
        let file = identified(tempfile::NamedTempFile::new().unwrap().path());
        let mut registry = Registry::default();
        registry.insert(&file, Scope::Process(1), 7, 'a', User::Process(1));
        registry.insert(&file, Scope::Process(2), 8, 'b', User::Process(2));
        let (mut attachments, kept) = registry.take_all();
        attachments.sort_unstable();
        assert_eq!(attachments, ['a', 'b']);
        let kept: Vec<_> = kept.into_values().collect();
        let other = registry.expire(Instant::now() + LINGER);
        registry.let_go(kept.clone());
        assert_eq!(registry.expire(Instant::now() + LINGER), kept);
        let mut all = [other, kept].concat();
        all.sort_unstable();
        assert_eq!(all, [7, 8]);
    }

    #[test]
    fn a_file_in_an_overlay_is_the_one_below() {
        let below = identified(tempfile::NamedTempFile::new().unwrap().path());
        let FileKey::Inode { inode, .. } = below.key else { panic!("{:?}", below.key) };
        let shown = |inode| {
            let (file, stamp) = (below.file.try_clone().unwrap(), below.stamp);
            let key = FileKey::Fingerprint { inode, size: 0, modified: 0, changed: 0 };
            RealFile { file, key, stamp }
        };
        let mut registry = Registry::default();
        registry.insert(&shown(inode), Scope::All, 7, (), User::Process(1));
        assert_eq!(registry.reuse(&below, Scope::All, User::Process(2)), Some(7));
        assert_eq!(registry.reuse(&shown(inode + 1), Scope::All, User::Process(3)), None);
        assert_eq!(registry.reuse(&below, Scope::Process(2), User::Process(2)), None);
        assert_eq!(registry.count(), (1, 2));
    }

    #[test]
    fn a_file_that_was_written_to_is_another() {
        let path = tempfile::NamedTempFile::new().unwrap();
        let file = identified(path.path());
        let attachment = Arc::new(());
        let mut registry = Registry::default();
        registry.insert(&file, Scope::All, 7, Arc::clone(&attachment), User::Process(1));
        fs::write(path.path(), "another").unwrap();
        let anew = identified(path.path());
        assert_eq!(registry.reuse(&anew, Scope::All, User::Process(2)), None);
        assert_eq!(Arc::strong_count(&attachment), 2, "not while nothing is in its place");
        registry.insert(&anew, Scope::All, 8, Arc::new(()), User::Process(2));
        assert_eq!(Arc::strong_count(&attachment), 2, "calls may be under way");
        registry.expire(Instant::now() + GRACE);
        assert_detached(&attachment);
        assert_eq!(registry.expire(Instant::now() + LINGER), [7]);
    }
}
