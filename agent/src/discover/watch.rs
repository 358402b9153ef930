//! perf's side-band records of all CPUs: executable mappings, fork, exec, exit, without polling.
//!
//! One dummy software event a CPU carries the records (perf_event_open(2): `mmap2`, `build_id`,
//! `comm_exec`, `task`), some 10–80 µs after the fact.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
    time::Instant,
};

use perf_event::{
    Builder, Sampler,
    data::{Mmap2, Record},
    events::Software,
};
use thiserror::Error;
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
    task::JoinSet,
};

use super::{BuildId, Event, maps::mapping};

/// Marks a comm record as made by exec (`PERF_RECORD_MISC_COMM_EXEC`, Linux 3.16).
const COMM_EXEC: u16 = 1 << 13;
/// Ring bytes a CPU.
const RING: usize = 128 << 10;
/// Events that may wait for the reader; beyond that, [`Event::Lost`] replaces them.
const QUEUE: usize = 16_384;

/// Why the side-band records cannot be had.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The kernel refused the event.
    #[error("perf_event_open refused on cpu {cpu} (CAP_PERFMON is needed)")]
    Open {
        /// The CPU.
        cpu: usize,
        /// What it said.
        #[source]
        source: io::Error,
    },
    /// No CPU is online, or none could be watched.
    #[error("no cpu could be watched")]
    NoCpu,
}

/// The readers of all CPUs; dropping it ends them.
#[derive(Debug)]
pub struct Watcher {
    events: mpsc::Receiver<Event>,
    readers: JoinSet<()>,
}

impl Watcher {
    /// Starts watching. Events from here on are kept, so a scan of /proc made after this misses
    /// nothing. Must be called in a tokio runtime.
    pub fn start() -> Result<Self, WatchError> {
        let (sender, events) = mpsc::channel(QUEUE);
        let mut readers = JoinSet::new();
        for cpu in 0..configured_cpus() {
            match open(cpu) {
                Ok(ring) => {
                    let sender = sender.clone();
                    readers.spawn(async move {
                        if let Err(error) = read(ring, &sender).await {
                            tracing::warn!(cpu, %error, "side-band records ended");
                        }
                    });
                }
                // The CPU is offline.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(source) => return Err(WatchError::Open { cpu, source }),
            }
        }
        if readers.is_empty() { Err(WatchError::NoCpu) } else { Ok(Self { events, readers }) }
    }

    /// The next event; `None` when all readers have ended.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// How many CPUs are watched.
    pub fn cpus(&self) -> usize {
        self.readers.len()
    }
}

fn configured_cpus() -> usize {
    // SAFETY: plain query of a number.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    usize::try_from(cpus).unwrap_or(1)
}

/// The records of one CPU.
struct Ring {
    sampler: Sampler,
    /// Another descriptor of the sampler's file, to wait on.
    ready: AsyncFd<OwnedFd>,
}

fn open(cpu: usize) -> io::Result<Ring> {
    let mut counter = Builder::new(Software::DUMMY)
        .any_pid()
        .one_cpu(cpu)
        .mmap(true)
        .mmap2(true)
        .build_id(true)
        .comm(true)
        .comm_exec(true)
        .task(true)
        .wakeup_watermark(1)
        .build()?;
    counter.enable()?;
    let sampler = counter.sampled(RING)?;
    // SAFETY: the sampler keeps its descriptor open beyond this call.
    let fd = unsafe { BorrowedFd::borrow_raw(sampler.as_raw_fd()) }.try_clone_to_owned()?;
    // SAFETY: an owned descriptor is the same one for as long as it lives.
    let ready = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
    Ok(Ring { sampler, ready })
}

async fn read(mut ring: Ring, events: &mpsc::Sender<Event>) -> io::Result<()> {
    let mut lost = false;
    loop {
        ring.ready.readable().await?.clear_ready();
        while let Some(record) = ring.sampler.next_record() {
            let Some(event) = event(&record) else {
                continue;
            };
            lost |= event == Event::Lost || events.try_send(event).is_err();
        }
        // A full queue must still tell that something is missing.
        if lost && events.send(Event::Lost).await.is_ok() {
            lost = false;
        }
    }
}

fn event(record: &perf_event::Record<'_>) -> Option<Event> {
    let exec = record.misc() & COMM_EXEC != 0;
    match record.parse_record() {
        Ok(Record::Mmap2(map)) => mapped(&map),
        Ok(Record::Comm(comm)) => {
            let command = String::from_utf8_lossy(&comm.comm).into_owned();
            // Other threads' names are not the process's.
            (comm.pid == comm.tid).then_some(if exec {
                Event::Executed { pid: comm.pid, command }
            } else {
                Event::Renamed { pid: comm.pid, command }
            })
        }
        // A new thread has its process's pid.
        Ok(Record::Fork(fork)) => {
            (fork.pid == fork.tid).then_some(Event::Forked { pid: fork.pid, parent: fork.ppid })
        }
        Ok(Record::Exit(exit)) => (exit.pid == exit.tid).then_some(Event::Exited { pid: exit.pid }),
        Ok(Record::Lost(_)) => Some(Event::Lost),
        Ok(_) => None,
        Err(error) => {
            tracing::debug!(%error, kind = record.ty(), "side-band record not understood");
            Some(Event::Lost)
        }
    }
}

fn mapped(map: &Mmap2<'_>) -> Option<Event> {
    // Names of mappings without a file begin otherwise: `[vdso]`, `//anon`, `anon_inode:…`.
    let file = map.filename.starts_with(b"/") && !map.filename.starts_with(b"//");
    file.then(|| Event::Mapped {
        pid: map.pid,
        mapping: mapping(map.addr, map.addr.saturating_add(map.len), map.filename.to_vec()),
        build_id: map.build_id().and_then(BuildId::new),
        seen: Instant::now(),
    })
}
