//! The reader of the ring buffer. It never waits for a decoder, a sink or a runtime: a full queue
//! drops and counts.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use aya::maps::{MapData, RingBuf};
use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc::{self, error::TrySendError},
};

use super::Chunk;

/// Reads records and passes chunks on.
pub struct Reader {
    ring: RingBuf<MapData>,
    /// Another descriptor of the map, to wait on.
    ready: AsyncFd<OwnedFd>,
    chunks: mpsc::Sender<Chunk>,
    /// Chunks that found the queue full.
    dropped: u64,
}

impl Reader {
    /// Must be called in a tokio runtime.
    pub fn new(ring: RingBuf<MapData>, chunks: mpsc::Sender<Chunk>) -> io::Result<Self> {
        let fd = ring.as_fd().try_clone_to_owned()?;
        // SAFETY: an owned descriptor is the same one for as long as it lives.
        let ready = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
        Ok(Self { ring, ready, chunks, dropped: 0 })
    }

    /// Passes on what the ring holds, each time that it holds something; ends with an error only.
    /// Dropping the future between two records loses nothing.
    pub async fn run(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.ready.readable().await?;
            ready.clear_ready();
            self.drain();
        }
    }

    /// Passes on what the ring holds now.
    pub fn drain(&mut self) {
        while let Some(record) = self.ring.next() {
            let Some(chunk) = Chunk::read(&record) else {
                tracing::warn!(bytes = record.len(), "record not understood");
                continue;
            };
            // A closed queue is no loss: what was asked for has been written.
            if let Err(TrySendError::Full(_)) = self.chunks.try_send(chunk) {
                self.dropped += 1;
            }
        }
    }

    /// Chunks that found the queue full, so far.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
