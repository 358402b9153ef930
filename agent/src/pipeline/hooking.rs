//! The thread that hooks, and the task that feeds it with events.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time,
};

use super::{hooks::Hooks, selection::Selection};
use crate::{
    discover::{self, Event, MountWatcher, Watcher},
    enrich::Names,
};

/// How often /proc is read again as a net under the events.
const RESYNC: Duration = Duration::from_secs(60);
/// How often /proc is read where no events can be had.
const RESCAN: Duration = Duration::from_secs(1);
/// How long until a process whose container had no name is looked at again.
const RETRY: Duration = Duration::from_millis(100);
/// How often attachments without users are looked through.
const TICK: Duration = Duration::from_secs(10);

/// How often it is counted at most how many libraries are probed.
const COUNT: Duration = Duration::from_millis(200);

/// Starts to probe everything there is and all that comes. The receiver gives how many libraries
/// are probed, and how many processes use them, when the first look at /proc is done. Dropping
/// the set ends it.
pub(super) fn start(
    proc: PathBuf,
    hooks: Hooks,
    hooked: Arc<AtomicUsize>,
    names: Names,
    selection: Option<Selection>,
    follow: mpsc::UnboundedReceiver<u32>,
) -> (JoinSet<()>, oneshot::Receiver<(usize, usize)>) {
    // Before the scan, so that nothing starts in between unseen.
    let watcher = Watcher::start()
        .inspect_err(|error| {
            tracing::warn!(%error, "no side-band records; reading /proc each second instead");
        })
        .ok();
    let (events, received) = mpsc::channel(1024);
    let (ready, first_scan) = oneshot::channel();
    let mut feed = Feed { proc, names, selection, follow, hooks: events };
    // What runs already is decided about before anything is probed.
    feed.note(&Event::Lost);
    std::thread::spawn(move || hook(hooks, received, ready, &hooked));
    let mut tasks = JoinSet::new();
    tasks.spawn(feed.run(watcher));
    (tasks, first_scan)
}

fn hook(
    mut hooks: Hooks,
    mut work: mpsc::Receiver<Work>,
    ready: oneshot::Sender<(usize, usize)>,
    hooked: &AtomicUsize,
) {
    hooks.begin();
    hooked.store(hooks.count().0, Ordering::Relaxed);
    // Nobody waits for it any more when the agent is stopping.
    let _ = ready.send(hooks.count());
    let (mut ticked, mut counted) = (Instant::now(), Instant::now());
    while let Some(work) = work.blocking_recv() {
        match work {
            Work::Event(event) => hooks.event(&event),
            Work::Follow(pid) => hooks.follow_ciphertext(pid),
        }
        if counted.elapsed() >= COUNT {
            counted = Instant::now();
            hooked.store(hooks.count().0, Ordering::Relaxed);
        }
        if ticked.elapsed() >= TICK {
            ticked = Instant::now();
            hooks.tick();
        }
    }
}

/// What the hooking thread is told.
enum Work {
    /// Something happened.
    Event(Event),
    /// A process does the I/O of its TLS connections itself.
    Follow(u32),
}

/// Passes events on to the names, the selection and the hooking thread.
struct Feed {
    proc: PathBuf,
    names: Names,
    selection: Option<Selection>,
    follow: mpsc::UnboundedReceiver<u32>,
    hooks: mpsc::Sender<Work>,
}

impl Feed {
    async fn run(mut self, mut watcher: Option<Watcher>) {
        let mut resync = time::interval(if watcher.is_some() { RESYNC } else { RESCAN });
        resync.reset();
        let mut mounts = MountWatcher::start(discover::host(&self.proc))
            .inspect_err(|error| tracing::warn!(%error, "mounts are not watched"))
            .ok();
        let mut remounted = true;
        loop {
            if std::mem::take(&mut remounted) {
                for event in mounts.as_mut().map_or_else(Vec::new, MountWatcher::changes) {
                    if self.hooks.send(Work::Event(event)).await.is_err() {
                        return;
                    }
                }
            }
            let undecided = self.selection.as_ref().is_some_and(Selection::waits);
            let event = tokio::select! {
                event = next(&mut watcher) => event,
                () = changed(&mut mounts) => {
                    remounted = true;
                    continue;
                }
                _ = resync.tick() => Event::Lost,
                Some(pid) = self.follow.recv() => {
                    if self.hooks.send(Work::Follow(pid)).await.is_err() {
                        return;
                    }
                    continue;
                }
                () = time::sleep(RETRY), if undecided => {
                    if let Some(selection) = &mut self.selection {
                        selection.retry(&self.names);
                    }
                    continue;
                }
            };
            self.note(&event);
            if self.hooks.send(Work::Event(event)).await.is_err() {
                return;
            }
        }
    }

    /// Takes from an event what it says about names, and decides about its process.
    fn note(&mut self, event: &Event) {
        let now = Instant::now();
        let processes = &self.names.processes;
        let changed = match event {
            Event::Executed { pid, command } => {
                processes.refresh(*pid, Some(command));
                vec![*pid]
            }
            Event::Forked { pid, parent } => {
                processes.inherit(*pid, *parent);
                vec![*pid]
            }
            Event::Renamed { pid, command } => {
                processes.rename(*pid, command.clone());
                vec![*pid]
            }
            Event::Exited { pid } => {
                processes.end(*pid, now);
                if let Some(selection) = &mut self.selection {
                    selection.forget(*pid);
                }
                Vec::new()
            }
            Event::Mapped { .. } | Event::Mounted { .. } | Event::Unmounted { .. } => Vec::new(),
            Event::Lost => {
                let alive = discover::processes(&self.proc).unwrap_or_default();
                processes.retain(&alive, now);
                processes.expire(now);
                alive
            }
        };
        if let Some(selection) = &mut self.selection {
            for pid in changed {
                selection.decide(pid, &self.names);
            }
        }
    }
}

async fn changed(mounts: &mut Option<MountWatcher>) {
    if let Some(running) = mounts {
        match running.changed().await {
            Ok(()) => return,
            Err(error) => tracing::warn!(%error, "mounts are no longer watched"),
        }
        *mounts = None;
    }
    std::future::pending().await
}

async fn next(watcher: &mut Option<Watcher>) -> Event {
    if let Some(running) = watcher {
        if let Some(event) = running.next().await {
            return event;
        }
        *watcher = None;
    }
    std::future::pending().await
}
