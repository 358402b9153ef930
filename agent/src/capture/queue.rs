//! The queue between the ring reader and the decoders, bounded by what its chunks weigh.
//!
//! Chunks go through it in batches: to wake the decoders costs more than to take a chunk. Where one
//! processor is not enough for them, each takes the chunks of some of the TLS objects, its shard.
//!
//! Plaintext that finds it full is dropped, and shows as a gap; when most of it is taken, that of a
//! process that has more in it than its share. Ends, gaps and sockets have room left when plaintext has
//! none: without them a gap could not be told exactly.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    vec,
};

use tlstap_ebpf::{Fill, Share, is_crowded};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender, error::TryRecvError};

use super::{Chunk, ChunkContent, ConnectionKey};

/// A batch goes off at the latest when it holds so many chunks, or weighs so much.
const BATCH: usize = 1024;
const BATCH_BYTES: usize = 1 << 20;
/// So many processes have shares of a lane; then those are looked for that have nothing in it.
const SHARES: usize = 4_096;

/// Chunks that go through together.
#[derive(Debug, Default)]
struct Batch {
    chunks: Vec<Chunk>,
    weight: usize,
}

/// The end that chunks are put into.
#[derive(Debug)]
pub struct Sender {
    lanes: Vec<Lane>,
    /// Bytes that plaintext may take up in a lane; everything may take up twice as much.
    limit: usize,
}

/// The way to one receiver.
#[derive(Debug)]
struct Lane {
    batches: UnboundedSender<Batch>,
    /// Not sent yet.
    next: Batch,
    held: Arc<AtomicUsize>,
    /// Bytes that were ever put in.
    written: u64,
    /// By process, while it is crowded.
    shares: HashMap<u32, Share>,
}

/// Which TLS objects belong to a receiver. The ends of processes belong to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: usize,
    /// How many there are.
    of: usize,
}

impl Shard {
    /// The only one.
    pub const ALL: Self = Self { number: 0, of: 1 };

    /// Whether a connection is one of its own: later ones on the same TLS object are, too.
    pub fn holds(self, connection: &ConnectionKey) -> bool {
        shard(connection, self.of) == self.number
    }
}

/// The number of the shard that a connection is in.
fn shard(ConnectionKey { pid, object, .. }: &ConnectionKey, of: usize) -> usize {
    // Fibonacci hashing: objects lie at multiples of many bytes.
    let mixed = (object ^ u64::from(*pid).rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 33).unwrap_or_default() % of
}

/// The end that chunks come out of.
#[derive(Debug)]
pub struct Receiver {
    shard: Shard,
    batches: UnboundedReceiver<Batch>,
    /// The rest of the last batch, and what the whole of it weighed.
    rest: vec::IntoIter<Chunk>,
    weight: usize,
    held: Arc<AtomicUsize>,
}

/// A queue that holds about so many bytes, with so many receivers, at least one.
pub fn queue(limit: usize, receivers: usize) -> (Sender, Vec<Receiver>) {
    let of = receivers.max(1);
    let (lanes, receivers) = (0..of).map(|number| lane(Shard { number, of })).unzip();
    (Sender { lanes, limit: limit / of }, receivers)
}

fn lane(shard: Shard) -> (Lane, Receiver) {
    let (sender, batches) = mpsc::unbounded_channel();
    let held = Arc::new(AtomicUsize::new(0));
    let lane = Lane {
        batches: sender,
        next: Batch::default(),
        held: Arc::clone(&held),
        written: 0,
        shares: HashMap::new(),
    };
    (lane, Receiver { shard, batches, rest: Vec::new().into_iter(), weight: 0, held })
}

impl Sender {
    /// Puts a chunk in; [`Sender::flush`] makes sure that it goes off. `false` when there was no
    /// room and it is dropped; that nobody takes chunks any more is no loss.
    pub fn send(&mut self, chunk: Chunk) -> bool {
        if chunk.content == ChunkContent::Exit {
            let sent = self.lanes.iter_mut().map(|lane| lane.send(chunk.clone(), self.limit));
            return sent.fold(true, |all, sent| all & sent);
        }
        let number = shard(&chunk.connection, self.lanes.len());
        self.lanes.get_mut(number).is_some_and(|lane| lane.send(chunk, self.limit))
    }

    /// Sends what was put in.
    pub fn flush(&mut self) {
        self.lanes.iter_mut().for_each(Lane::flush);
    }
}

impl Lane {
    fn send(&mut self, chunk: Chunk, limit: usize) -> bool {
        let weight = weigh(&chunk);
        // Only this end adds, so it can only become less meanwhile.
        let held = self.held.load(Ordering::Relaxed).saturating_add(self.next.weight);
        let has_room = match chunk.content {
            ChunkContent::Data { .. } => self.has_room(chunk.connection.pid, held, weight, limit),
            _ => held.saturating_add(weight) <= limit.saturating_mul(2),
        };
        if !has_room {
            return false;
        }
        self.next.chunks.push(chunk);
        self.next.weight += weight;
        self.written += weight as u64;
        if self.next.chunks.len() >= BATCH || self.next.weight >= BATCH_BYTES {
            self.flush();
        }
        true
    }

    /// Whether there is room for so many bytes of plaintext of a process.
    fn has_room(&mut self, pid: u32, held: usize, weight: usize, limit: usize) -> bool {
        let [held, weight, capacity] = [held, weight, limit].map(|bytes| bytes as u64);
        if !is_crowded(held, capacity) {
            self.shares.clear();
            return held.saturating_add(weight) <= capacity;
        }
        let fill =
            Fill { capacity, written: self.written, read: self.written.saturating_sub(held) };
        if self.shares.len() >= SHARES {
            self.shares.retain(|_, share| share.counts(fill));
        }
        self.shares.entry(pid).or_insert_with(|| Share::new(fill)).take_all(fill, weight)
    }

    fn flush(&mut self) {
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
    /// Whose chunks come out of it.
    pub const fn shard(&self) -> Shard {
        self.shard
    }

    /// Bytes that wait in it, for as long as it lives.
    pub fn held(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.held)
    }

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
    use crate::capture::{Call, Direction, GapReason};

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

    fn one(limit: usize) -> (Sender, Receiver) {
        let (sender, mut receivers) = queue(limit, 1);
        (sender, receivers.remove(0))
    }

    #[test]
    fn every_connection_has_one_shard_and_ends_of_processes_have_all() {
        let (mut sender, mut receivers) = queue(usize::MAX, 3);
        for object in 0..300 {
            let connection = ConnectionKey { pid: 1, object: object * 0x1000, birth: object };
            sender.send(Chunk { connection, ..data() });
        }
        sender.send(chunk(ChunkContent::Exit));
        sender.flush();
        let mut seen = 0;
        for receiver in &mut receivers {
            let mut own = 0;
            while let Ok(chunk) = receiver.try_recv() {
                if chunk.content == ChunkContent::Exit {
                    assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
                    break;
                }
                assert!(receiver.shard().holds(&chunk.connection));
                own += 1;
            }
            assert!((50..150).contains(&own), "{own} of 300");
            seen += own;
        }
        assert_eq!(seen, 300);
        assert!(Shard::ALL.holds(&data().connection));
    }

    #[test]
    fn the_end_finds_room_when_plaintext_does_not() {
        let (mut sender, mut receiver) = one(2 * (1000 + size_of::<Chunk>()));
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
    fn who_floods_leaves_room_for_others() {
        let (mut sender, mut receiver) = one(100 * (1000 + size_of::<Chunk>()));
        let of = |pid| Chunk { connection: ConnectionKey { pid, ..data().connection }, ..data() };
        let mut sent = 0;
        for round in 0..10_000 {
            sent += u32::from(sender.send(of(1))) + u32::from(sender.send(of(2)));
            if round % 100 == 0 {
                assert!(sender.send(of(3)), "round {round}");
            }
            sender.flush();
            if round % 10 == 0 {
                let _ = receiver.try_recv();
            }
        }
        assert!((900..2_000).contains(&sent), "{sent} of 20,000");
    }

    #[test]
    fn what_was_taken_makes_room() {
        let (mut sender, mut receiver) = one(1500 + size_of::<Chunk>());
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
        let (mut sender, mut receiver) = one(usize::MAX);
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
