//! The queue between the ring reader and the decoders, bounded by what its chunks weigh.
//!
//! Chunks go through it in batches: to wake the decoders costs more than to take a chunk.
//!
//! Plaintext that finds it full is dropped, and shows as a gap. Ends, gaps and sockets have room
//! left when plaintext has none: without them a gap could not be told exactly.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    vec,
};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, error::TryRecvError};

use super::{Chunk, ChunkContent};

/// A batch goes off at the latest when it holds so many chunks, or weighs so much.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 1 << 20;

/// Chunks that go through together.
#[derive(Debug, Default)]
struct Batch {
    chunks: Vec<Chunk>,
    weight: usize,
}

/// The end that chunks are put into.
#[derive(Debug)]
pub struct Sender {
    batches: UnboundedSender<Batch>,
    /// Not sent yet.
    next: Batch,
    held: Arc<AtomicUsize>,
    /// Bytes that plaintext may take up; everything may take up twice as much.
    limit: usize,
}

/// The end that chunks come out of.
#[derive(Debug)]
pub struct Receiver {
    batches: UnboundedReceiver<Batch>,
    /// The rest of the last batch, and what the whole of it weighed.
    rest: vec::IntoIter<Chunk>,
    weight: usize,
    held: Arc<AtomicUsize>,
}

/// A queue that holds about so many bytes.
pub fn queue(limit: usize) -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let held = Arc::new(AtomicUsize::new(0));
    let next = Batch::default();
    let sender = Sender { batches: sender, next, held: Arc::clone(&held), limit };
    let rest = Vec::new().into_iter();
    (sender, Receiver { batches: receiver, rest, weight: 0, held })
}

impl Sender {
    /// Puts a chunk in; [`Sender::flush`] makes sure that it goes off. `false` when there was no
    /// room and it is dropped; that nobody takes chunks any more is no loss.
    pub fn send(&mut self, chunk: Chunk) -> bool {
        let weight = weigh(&chunk);
        let limit = match chunk.content {
            ChunkContent::Data { .. } => self.limit,
            _ => self.limit.saturating_mul(2),
        };
        // Only this end adds, so it can only become less meanwhile.
        let held = self.held.load(Ordering::Relaxed).saturating_add(self.next.weight);
        if held.saturating_add(weight) > limit {
            return false;
        }
        self.next.chunks.push(chunk);
        self.next.weight += weight;
        if self.next.chunks.len() >= BATCH || self.next.weight >= BATCH_BYTES {
            self.flush();
        }
        true
    }

    /// Sends what was put in.
    pub fn flush(&mut self) {
        if self.next.chunks.is_empty() {
            return;
        }
        let room = Vec::with_capacity(self.next.chunks.len());
        let batch = mem::replace(&mut self.next, Batch { chunks: room, weight: 0 });
        self.held.fetch_add(batch.weight, Ordering::Relaxed);
        let _ = self.batches.send(batch);
    }
}

impl Receiver {
    /// The next chunk; `None` when there will be no more.
    pub async fn recv(&mut self) -> Option<Chunk> {
        loop {
            if let Some(chunk) = self.next() {
                return Some(chunk);
            }
            let batch = self.batches.recv().await?;
            self.take(batch);
        }
    }

    /// The next chunk, if there is one now.
    pub fn try_recv(&mut self) -> Result<Chunk, TryRecvError> {
        loop {
            if let Some(chunk) = self.next() {
                return Ok(chunk);
            }
            let batch = self.batches.try_recv()?;
            self.take(batch);
        }
    }

    /// The next chunk of the batch. When it is used up, its weight is gone.
    fn next(&mut self) -> Option<Chunk> {
        let chunk = self.rest.next();
        if chunk.is_none() {
            self.held.fetch_sub(mem::take(&mut self.weight), Ordering::Relaxed);
        }
        chunk
    }

    fn take(&mut self, batch: Batch) {
        self.weight = batch.weight;
        self.rest = batch.chunks.into_iter();
    }
}

fn weigh(chunk: &Chunk) -> usize {
    size_of::<Chunk>()
        + match &chunk.content {
            ChunkContent::Data { bytes, .. } => bytes.len(),
            _ => 0,
        }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::capture::{Call, ConnectionKey, Direction, GapReason};

    fn chunk(content: ChunkContent) -> Chunk {
        let connection = ConnectionKey { pid: 1, object: 2, birth: 3 };
        let call = Call { tid: 1, thread_name: [0; 16], library: 0, entered: 4, returned: 5 };
        Chunk { connection, call, content }
    }

    fn data() -> Chunk {
        chunk(ChunkContent::Data {
            direction: Direction::Transmit,
            offset: 0,
            bytes: Bytes::from_static(&[0; 1000]),
            loss: GapReason::Unknown,
        })
    }

    #[test]
    fn the_end_finds_room_when_plaintext_does_not() {
        let (mut sender, mut receiver) = queue(2 * (1000 + size_of::<Chunk>()));
        assert!(sender.send(data()));
        sender.flush();
        assert!(sender.send(data()));
        assert!(!sender.send(data()));
        assert!(sender.send(chunk(ChunkContent::Exit)));
        sender.flush();
        assert!(!sender.send(data()));
        assert_eq!(receiver.try_recv(), Ok(data()));
        assert_eq!(receiver.try_recv(), Ok(data()));
        assert_eq!(receiver.try_recv(), Ok(chunk(ChunkContent::Exit)));
    }

    #[test]
    fn what_was_taken_makes_room() {
        let (mut sender, mut receiver) = queue(1500 + size_of::<Chunk>());
        for _ in 0..10 {
            assert!(sender.send(data()));
            assert!(!sender.send(data()));
            sender.flush();
            assert_eq!(receiver.try_recv(), Ok(data()));
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        }
        drop(sender);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    }

    #[test]
    fn much_goes_off_by_itself() {
        let (mut sender, mut receiver) = queue(usize::MAX);
        for _ in 0..BATCH {
            assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
            assert!(sender.send(chunk(ChunkContent::Exit)));
        }
        for _ in 0..BATCH {
            assert!(receiver.try_recv().is_ok());
        }
        for _ in 0..BATCH_BYTES / 1000 {
            sender.send(data());
        }
        assert!(receiver.try_recv().is_ok());
    }
}
