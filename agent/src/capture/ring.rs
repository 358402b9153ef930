//! The reader of the ring buffer. It never waits for a decoder, a sink or a runtime: a full queue
//! drops and counts.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::{MissedTickBehavior, interval},
};

use super::{Chunk, Sender, connections::Ended};

/// How often ends are looked for that the ring had no room for.
const SWEEP: Duration = Duration::from_secs(1);

/// Reads records and passes chunks on.
pub struct Reader {
    ring: RingBuf<MapData>,
    ended: Ended,
    /// Ends that were found. Records of before them may still be unread: a record that is being
    /// written stands before those that are done.
    late: Vec<Chunk>,
    /// Another descriptor of the map, to wait on.
    ready: AsyncFd<OwnedFd>,
    chunks: Sender,
    /// Chunks that found the queue full.
    dropped: u64,
}

impl Reader {
    /// Must be called in a tokio runtime.
    pub fn new(ring: RingBuf<MapData>, ended: Ended, chunks: Sender) -> io::Result<Self> {
        let fd = ring.as_fd().try_clone_to_owned()?;
        // SAFETY: an owned descriptor is the same one for as long as it lives.
        let ready = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self { ring, ended, late: Vec::new(), ready, chunks, dropped: 0 })
    }

    /// Passes on what the ring holds, each time that it holds something; ends with an error only.
    /// Dropping the future between two records loses nothing.
    pub async fn run(&mut self) -> io::Result<()> {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                ready = self.ready.readable() => {
                    ready?.clear_ready();
                    self.drain();
                }
                _ = sweep.tick() => self.sweep(),
            }
        }
    }

    /// Passes on what there is now, for the last time.
    pub fn finish(&mut self) {
        self.sweep();
        self.drain();
        self.sweep();
    }

    /// Passes on what the ring holds now.
    fn drain(&mut self) {
        while let Some(record) = self.ring.next() {
            match Chunk::read(&record) {
                Some(chunk) => self.dropped += u64::from(!self.chunks.send(chunk)),
                None => tracing::warn!(bytes = record.len(), "record not understood"),
            }
        }
    }

    /// Passes on the ends that were found the last time, and looks for new ones.
    fn sweep(&mut self) {
        for chunk in self.late.drain(..) {
            self.dropped += u64::from(!self.chunks.send(chunk));
        }
        self.late = self.ended.take();
    }

    /// Chunks that found the queue full, so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
