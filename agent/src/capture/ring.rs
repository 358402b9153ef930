//! The reader of the ring buffer, on a thread of its own. It never waits for a decoder, a sink or
//! a runtime: a full queue drops and counts.
//!
//! While records come it looks into the ring every few milliseconds, and the kernel half wakes it
//! only when much is unread. When none came for some time it says so and sleeps until it is woken.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use aya::maps::{Array, MapData, RingBuf};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use tokio::sync::oneshot;

use super::{Blocks, Chunk, Meter, Sender, connections::Ended};
use crate::{
    heartbeat::Heartbeat,
    privilege::{self, Part},
};

/// How often the ring is looked into while records come: often enough that there are about
/// [`AT_ONCE`] each time.
const TICK: Duration = Duration::from_millis(8);
/// The least time between two looks.
const SHORTEST_TICK: Duration = Duration::from_millis(1);
/// Records that are passed on at once. To wake the decoders for fewer costs more, and more keep them
/// on their processor for so long that others wait: 100 exchanges take a third of a millisecond.
const AT_ONCE: u32 = 100;
/// How long none may come until the reader sleeps.
const PATIENCE: Duration = Duration::from_millis(20);
/// How often ends are looked for that the ring had no room for.
const SWEEP: Duration = Duration::from_secs(1);
/// Records that are passed on from one heartbeat to the next.
const BEAT: u32 = 1_024;
/// The nice value of the thread.
const PRIORITY: i32 = -10;

/// What the kernel half fills.
pub struct Ring {
    /// The records.
    pub records: RingBuf<MapData>,
    /// Whether the reader sleeps until it is woken.
    pub sleeping: Array<MapData, u32>,
    /// Ends that are not among the records.
    pub ended: Ended,
}

/// The reading thread. Dropping it ends it; [`Reader::finish`] reads to the end first.
#[derive(Debug)]
pub struct Reader {
    thread: Option<JoinHandle<()>>,
    meter: Arc<Meter>,
    /// Written to, it ends the thread.
    stop: OwnedFd,
    failed: oneshot::Receiver<io::Error>,
}

impl Reader {
    /// Starts to pass on what comes.
    pub fn start(ring: Ring, chunks: Sender, heart: Arc<Heartbeat>) -> io::Result<Self> {
        let meter = Arc::new(Meter::new(ring.records.as_fd(), heart)?);
        let stop = eventfd(0, EventfdFlags::CLOEXEC)?;
        let waits = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        // By its edges: a ring with unread records is always readable.
        let edges = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&waits, ring.records.as_fd(), epoll::EventData::new_u64(RECORDS), edges)?;
        epoll::add(&waits, &stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        let (fails, failed) = oneshot::channel();
        let reading = Reading {
            ring,
            waits,
            chunks,
            blocks: Blocks::default(),
            late: Vec::new(),
            meter: Arc::clone(&meter),
        };
        let thread = thread::Builder::new()
            .name("tlstap-ring".to_owned())
            .spawn(move || reading.run(fails))?;
        Ok(Self { thread: Some(thread), meter, stop, failed })
    }

    /// Completes when the ring cannot be read any more.
    pub async fn failed(&mut self) -> io::Error {
        match (&mut self.failed).await {
            Ok(error) => error,
            Err(_ended) => std::future::pending().await,
        }
    }

    /// What it tells of itself.
    pub fn meter(&self) -> Arc<Meter> {
        Arc::clone(&self.meter)
    }

    /// Passes on what there is now, for the last time. How many chunks found the queue full in all.
    pub fn finish(mut self) -> u64 {
        self.end();
        self.meter.dropped()
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // Fails only when it was written to 2^64 times.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        // One that panicked has said so.
        let _ = thread.join();
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.end();
    }
}

/// What is waited for.
const RECORDS: u64 = 0;
const STOP: u64 = 1;

/// The state of the reading thread.
struct Reading {
    ring: Ring,
    waits: OwnedFd,
    chunks: Sender,
    blocks: Blocks,
    /// Ends that were found. Records of before them may still be unread: a record that is being
    /// written stands before those that are done.
    late: Vec<Chunk>,
    meter: Arc<Meter>,
}

impl Reading {
    fn run(mut self, fails: oneshot::Sender<io::Error>) {
        // What it does is short and bounded, and while it waits for a processor plaintext is lost.
        // Of the calling thread: priorities are per thread (setpriority(2)). May be forbidden.
        let _ = rustix::process::setpriority_process(None, PRIORITY);
        privilege::keep(Part::Maps);
        if let Err(error) = self.read() {
            // Nobody listens when the agent is ending.
            let _ = fails.send(error);
        }
        self.sweep();
        self.drain();
        self.sweep();
        self.meter.heart.rest();
    }

    /// Reads until it is told to stop.
    fn read(&mut self) -> io::Result<()> {
        let (mut read, mut swept) = (Instant::now(), Instant::now());
        let (mut sleeps, mut tick) = (false, TICK);
        loop {
            let count = self.drain();
            if count > 0 {
                tick = tick_for(count, read.elapsed());
                read = Instant::now();
                sleeps = false;
            } else if !sleeps && read.elapsed() > PATIENCE {
                self.blocks.release();
                self.ring.sleeping.set(0, 1, 0).map_err(io::Error::other)?;
                // A record that was on its way at that moment is found a tick later.
                sleeps = true;
                if self.stops(TICK)? {
                    return Ok(());
                }
                continue;
            }
            if swept.elapsed() >= SWEEP {
                swept = Instant::now();
                self.sweep();
            }
            if self.stops(if sleeps { SWEEP } else { tick })? {
                return Ok(());
            }
        }
    }

    /// Waits until it is woken or the time is over. Whether it is to stop.
    fn stops(&self, time: Duration) -> io::Result<bool> {
        let time = Timespec::try_from(time).map_err(io::Error::other)?;
        let mut events = Vec::with_capacity(2);
        match epoll::wait(&self.waits, rustix::buffer::spare_capacity(&mut events), Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {
                Ok(events.iter().any(|event| event.data.u64() == STOP))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Passes on what the ring holds now. How many records that were.
    fn drain(&mut self) -> u32 {
        let mut count = 0_u32;
        self.meter.look();
        while let Some(record) = self.ring.records.next() {
            count = count.wrapping_add(1);
            if count.is_multiple_of(BEAT) {
                self.meter.heart.beat();
            }
            match Chunk::read(&record, &mut self.blocks) {
                Some(chunk) => send(&mut self.chunks, chunk, &self.meter),
                None => {
                    self.meter.unreadable.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(bytes = record.len(), "record not understood");
                }
            }
        }
        self.chunks.flush();
        count
    }

    /// Passes on the ends that were found the last time, and looks for new ones.
    fn sweep(&mut self) {
        for chunk in self.late.drain(..) {
            send(&mut self.chunks, chunk, &self.meter);
        }
        self.chunks.flush();
        self.late = self.ring.ended.take();
    }
}

/// When the ring is looked into next, after so many records since the last ones so long ago.
fn tick_for(count: u32, since: Duration) -> Duration {
    (since * AT_ONCE / count.max(1)).clamp(SHORTEST_TICK, TICK)
}

/// Puts a chunk into the queue, or counts it when that is full.
fn send(chunks: &mut Sender, chunk: Chunk, meter: &Meter) {
    if !chunks.send(chunk) {
        meter.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_comes_the_more_often_it_is_looked_for() {
        let milliseconds = Duration::from_millis;
        for (count, since, expect) in [
            (1, milliseconds(60_000), TICK),
            (100, milliseconds(8), TICK),
            (200, milliseconds(8), milliseconds(4)),
            (800, milliseconds(8), SHORTEST_TICK),
            (u32::MAX, milliseconds(8), SHORTEST_TICK),
            (100, milliseconds(1), SHORTEST_TICK),
            (50, milliseconds(2), milliseconds(4)),
        ] {
            assert_eq!(tick_for(count, since), expect, "{count} in {since:?}");
        }
    }
}
