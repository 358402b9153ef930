//! The queue between the ring reader and the decoders, bounded by what its chunks weigh.
//!
//! Plaintext that finds it full is dropped, and shows as a gap. Ends, gaps and sockets have room
//! left when plaintext has none: without them a gap could not be told exactly.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, error::TryRecvError};

use super::{Chunk, ChunkContent};

/// The end that chunks are put into.
#[derive(Debug)]
pub struct Sender {
    chunks: UnboundedSender<Chunk>,
    held: Arc<AtomicUsize>,
    /// Bytes that plaintext may take up; everything may take up twice as much.
    limit: usize,
}

/// The end that chunks come out of.
#[derive(Debug)]
pub struct Receiver {
    chunks: UnboundedReceiver<Chunk>,
    held: Arc<AtomicUsize>,
}

/// A queue that holds about so many bytes.
pub fn queue(limit: usize) -> (Sender, Receiver) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let held = Arc::new(AtomicUsize::new(0));
    let sender = Sender { chunks: sender, held: Arc::clone(&held), limit };
    (sender, Receiver { chunks: receiver, held })
}

impl Sender {
    /// Puts a chunk in. `false` when there was no room and it is dropped; that nobody takes chunks
    /// any more is no loss.
    pub fn send(&self, chunk: Chunk) -> bool {
        let weight = weigh(&chunk);
        let limit = match chunk.content {
            ChunkContent::Data { .. } => self.limit,
            _ => self.limit.saturating_mul(2),
        };
        // Only this end adds, so it can only become less meanwhile.
        if self.held.load(Ordering::Relaxed).saturating_add(weight) > limit {
            return false;
        }
        self.held.fetch_add(weight, Ordering::Relaxed);
        let _ = self.chunks.send(chunk);
        true
    }
}

impl Receiver {
    /// The next chunk; `None` when there will be no more.
    pub async fn recv(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.recv().await;
        self.release(chunk.as_ref());
        chunk
    }

    /// The next chunk, if there is one now.
    pub fn try_recv(&mut self) -> Result<Chunk, TryRecvError> {
        let chunk = self.chunks.try_recv();
        self.release(chunk.as_ref().ok());
        chunk
    }

    fn release(&self, chunk: Option<&Chunk>) {
        self.held.fetch_sub(chunk.map_or(0, weigh), Ordering::Relaxed);
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
        let (sender, mut receiver) = queue(2 * (1000 + size_of::<Chunk>()));
        assert!(sender.send(data()));
        assert!(sender.send(data()));
        assert!(!sender.send(data()));
        assert!(sender.send(chunk(ChunkContent::Exit)));
        assert_eq!(receiver.try_recv(), Ok(data()));
        assert!(sender.send(data()) || receiver.try_recv().is_ok());
    }

    #[test]
    fn what_was_taken_makes_room() {
        let (sender, mut receiver) = queue(1500 + size_of::<Chunk>());
        for _ in 0..10 {
            assert!(sender.send(data()));
            assert!(!sender.send(data()));
            assert_eq!(receiver.try_recv(), Ok(data()));
        }
        drop(sender);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    }
}
