//! The thread that hooks, and the task that feeds it with events.

use std::{
    io,
    mem::{self, ManuallyDrop},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{
        mpsc::{
            self,
            error::{TryRecvError, TrySendError},
        },
        oneshot,
    },
    task::JoinSet,
    time,
};

use super::{hooks::Hooks, selection::Selection};
use crate::{
    capture::Connections,
    discover::{self, Event, MountWatcher, Watcher},
    enrich::Names,
    heartbeat::Heartbeat,
    metrics::Libraries,
    privilege,
};

/// How often /proc is read again as a net under the events.
const RESYNC: Duration = Duration::from_secs(60);
/// How often /proc is read where no events can be had.
const RESCAN: Duration = Duration::from_secs(1);
/// How long until a process whose container had no name is looked at again.
const RETRY: Duration = Duration::from_millis(100);
/// How often attachments without users are looked through.
const TICK: Duration = Duration::from_secs(10);

/// How much may wait for the hooking thread; beyond that, a look at all processes replaces it.
const QUEUE: usize = 16_384;
/// How much of the queue must be free again until that look.
const AGAIN: usize = QUEUE / 4 * 3;

/// How often it is counted at most how many libraries are probed.
const COUNT: Duration = Duration::from_millis(200);

/// What was started.
pub(super) struct Hooking {
    /// Dropping it ends it.
    pub(super) feed: JoinSet<()>,
    /// How many libraries are probed, and how many processes use them, when the first look at /proc
    /// is done.
    pub(super) ready: oneshot::Receiver<(usize, usize)>,
    /// What the hooking thread is asked by.
    pub(super) asked: Asked,
}

/// A way to ask the hooking thread.
#[derive(Clone)]
pub(super) struct Asked(mpsc::Sender<Work>);

impl Asked {
    /// What is probed now, and what is not; `None` when the thread is ending.
    pub(super) async fn libraries(&self) -> Option<Libraries> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Work::Count(answer)).await.ok()?;
        answered.await.ok()
    }

    /// Takes all probes off; these connections end.
    pub(super) async fn pause(&self, connections: Connections) {
        // It fails when the agent is ending: then they are taken off anyway.
        let _ = self.0.send(Work::Pause(connections)).await;
    }

    /// Puts them on again.
    pub(super) async fn resume(&self) {
        let _ = self.0.send(Work::Resume).await;
    }
}

/// Starts to probe everything there is and all that comes.
pub(super) fn start(
    proc: PathBuf,
    hooks: Hooks,
    hooked: Arc<AtomicUsize>,
    names: Names,
    selection: Option<Selection>,
    follow: mpsc::UnboundedReceiver<u32>,
) -> io::Result<Hooking> {
    // Before the scan, so that nothing starts in between unseen.
    let watcher = Watcher::start()
        .inspect_err(|error| {
            tracing::warn!(%error, "no side-band records; reading /proc each second instead");
        })
        .ok();
    let (events, received) = mpsc::channel(QUEUE);
    let (ready, first_scan) = oneshot::channel();
    let asked = Asked(events.clone());
    let mut feed = Feed { proc, names, selection, follow, hooks: events, behind: false };
    // What runs already is decided about before anything is probed.
    feed.note(&Event::Lost);
    let thread = std::thread::Builder::new().name("tlstap-hooks".to_owned());
    thread.spawn(move || hook(hooks, received, ready, &hooked))?;
    let mut tasks = JoinSet::new();
    tasks.spawn(feed.run(watcher));
    Ok(Hooking { feed: tasks, ready: first_scan, asked })
}

fn hook(
    hooks: Hooks,
    mut work: mpsc::Receiver<Work>,
    ready: oneshot::Sender<(usize, usize)>,
    hooked: &AtomicUsize,
) {
    // Its probes go with the process (`super::leave`). Taken off here, when the agent ends, they would hold up
    // whoever waits for the end of its output.
    let mut hooks = ManuallyDrop::new(hooks);
    privilege::keep(hooks.part());
    let heart = hooks.heart();
    hooks.begin();
    hooked.store(hooks.count().0, Ordering::Relaxed);
    // Nobody waits for it any more when the agent is stopping.
    let _ = ready.send(hooks.count());
    let (mut ticked, mut counted) = (Instant::now(), Instant::now());
    loop {
        // First what happened, so that each home has its turn.
        let next = match work.try_recv() {
            Ok(next) => Some(next),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) if hooks.work() => None,
            Err(TryRecvError::Empty) => match wait(&mut work, &heart) {
                None => return,
                next => next,
            },
        };
        match next {
            None => {}
            Some(Work::Event(event)) => hooks.tell(event),
            Some(Work::Follow(pid)) => hooks.follow_ciphertext(pid),
            Some(Work::Pause(connections)) => hooks.pause(&connections),
            Some(Work::Resume) => hooks.resume(),
            // Whoever asked may not wait any more.
            Some(Work::Count(answer)) => drop(answer.send(hooks.libraries())),
        }
        heart.beat();
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

fn wait(work: &mut mpsc::Receiver<Work>, heart: &Heartbeat) -> Option<Work> {
    heart.rest();
    let next = work.blocking_recv();
    heart.beat();
    next
}

/// What the hooking thread is told.
enum Work {
    /// Something happened.
    Event(Event),
    /// A process does the I/O of its TLS connections itself.
    Follow(u32),
    /// All probes are to be taken off, and these connections end.
    Pause(Connections),
    /// Probes are to be put on again.
    Resume,
    /// Somebody wants to know what is probed.
    Count(oneshot::Sender<Libraries>),
}

/// Passes events on to the names, the selection and the hooking thread.
struct Feed {
    proc: PathBuf,
    names: Names,
    selection: Option<Selection>,
    follow: mpsc::UnboundedReceiver<u32>,
    hooks: mpsc::Sender<Work>,
    /// Whether the hooking thread missed something.
    behind: bool,
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
            if mem::take(&mut remounted) {
                for event in mounts.as_mut().map_or_else(Vec::new, MountWatcher::changes) {
                    if self.hooks.send(Work::Event(event)).await.is_err() {
                        return;
                    }
                }
            }
            let undecided = self.selection.as_ref().is_some_and(Selection::waits);
            let event = tokio::select! {
                behind = self.hooks.reserve_many(AGAIN), if self.behind => {
                    let Ok(mut room) = behind else { return };
                    if let Some(room) = room.next() {
                        room.send(Work::Event(Event::Lost));
                    }
                    self.behind = false;
                    continue;
                }
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
            match self.hooks.try_send(Work::Event(event)) {
                Ok(()) => {}
                // Names wait for nobody.
                Err(TrySendError::Full(_)) => self.behind = true,
                Err(TrySendError::Closed(_)) => return,
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
                self.names.containers.expire(now, &processes.lived_in());
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
