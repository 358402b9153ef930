//! The expected offset of every stream, and what is missing before the next chunk.

use std::{
    collections::{VecDeque, hash_map::Entry},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use foldhash::{HashMap, HashSet};

use super::{Segment, SegmentContent};
use crate::capture::{Call, Chunk, ChunkContent, ConnectionKey, Direction, GapReason};

/// Most connections that are kept: twice what the kernel half keeps.
const MAX_OPEN: usize = 131_072;

/// How long a connection stays that the kernel half forgot, nanoseconds: its end may still come.
const PATIENCE: u64 = 5_000_000_000;

/// How many connections each process has open, in all shards.
#[derive(Clone, Debug, Default)]
pub struct Census(Arc<Mutex<HashMap<u32, usize>>>);

impl Census {
    /// How many a process has open.
    pub fn of(&self, pid: u32) -> usize {
        self.lock().get(&pid).copied().unwrap_or_default()
    }

    fn begin(&self, pid: u32) {
        *self.lock().entry(pid).or_default() += 1;
    }

    fn end(&self, pid: u32) {
        if let Entry::Occupied(mut open) = self.lock().entry(pid) {
            *open.get_mut() = open.get().saturating_sub(1);
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        // No code that holds the lock panics half-way through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The streams of a shard's connections.
#[derive(Debug, Default)]
pub struct Streams {
    census: Census,
    open: HashMap<ConnectionKey, Open>,
    /// By process and TLS object: the birth of the newest connection.
    newest: HashMap<(u32, u64), u64>,
    /// Connections whose TLS object has another since, and since when: the kernel half evicted
    /// them, or their end is late.
    superseded: VecDeque<(u64, ConnectionKey)>,
    /// Connections that ended, and when: their end may be told once more.
    ended: VecDeque<(u64, ConnectionKey)>,
    over: HashSet<ConnectionKey>,
}

/// A connection.
#[derive(Debug, Default)]
struct Open {
    /// By [`Direction::index`]: where the next byte is expected.
    expected: [u64; 2],
    /// When its last call returned.
    used: u64,
}

impl Open {
    /// A call moves bytes of a direction up to `to`; where they were expected to begin.
    fn pass(&mut self, call: Call, direction: Direction, to: u64) -> u64 {
        self.used = call.returned;
        mem::replace(direction.of_mut(&mut self.expected), to)
    }
}

impl Streams {
    /// Streams that are counted together with those of other shards.
    pub fn counted(census: Census) -> Self {
        Self { census, ..Self::default() }
    }

    /// Takes a chunk and appends the segments that follow from it.
    pub fn push(&mut self, chunk: Chunk, out: &mut Vec<Segment>) {
        let Chunk { connection, call, content } = chunk;
        self.retire(call, out);
        match content {
            ChunkContent::Data { direction, offset, bytes, loss } => {
                let end = offset.saturating_add(bytes.len() as u64);
                self.advance(connection, call, (direction, offset, end), loss, out);
                // The kernel half sends none without bytes, but a recording may have been made by anybody.
                if !bytes.is_empty() {
                    let content = SegmentContent::Data { direction, offset, bytes };
                    out.push(Segment { connection, call, content });
                }
            }
            ChunkContent::Gap { direction, offset, length, reason, loss } => {
                let end = offset.saturating_add(length);
                let content = SegmentContent::Gap { direction, offset, length, reason };
                self.advance(connection, call, (direction, offset, end), loss, out);
                out.push(Segment { connection, call, content });
            }
            // Told by the kernel half, when it met what a process had left, and found left by it.
            ChunkContent::Close { .. } if self.over.contains(&connection) => {}
            ChunkContent::Close { offsets, losses } => {
                // A connection of which every chunk was lost must still be told.
                for direction in Direction::BOTH {
                    let (end, loss) = (*direction.of(&offsets), *direction.of(&losses));
                    self.advance(connection, call, (direction, end, end), loss, out);
                }
                self.end(connection, call, out);
            }
            ChunkContent::Shutdown => {
                self.open(connection, call, out);
                out.push(Segment { connection, call, content: SegmentContent::Shutdown });
            }
            // From here on there is something to end.
            ChunkContent::Socket(_)
            | ChunkContent::Unbound
            | ChunkContent::Elsewhere
            | ChunkContent::Descriptor(_) => {
                self.open(connection, call, out);
            }
            ChunkContent::Exit => self.end_process(connection.pid, call),
        }
    }

    /// Whether a connection has begun and not ended.
    pub fn is_open(&self, connection: ConnectionKey) -> bool {
        self.open.contains_key(&connection)
    }

    /// The open connections of a process, in the order in which they began, so that output does
    /// not depend on hashing.
    pub fn of_process(&self, pid: u32) -> Vec<ConnectionKey> {
        let mut found: Vec<_> = self.open.keys().copied().filter(|key| key.pid == pid).collect();
        found.sort_unstable_by_key(|key| (key.birth, *key));
        found
    }

    /// The next bytes of a direction begin at `from` and end at `to`: tells what is missing before.
    fn advance(
        &mut self,
        connection: ConnectionKey,
        call: Call,
        (direction, from, to): (Direction, u64, u64),
        loss: GapReason,
        out: &mut Vec<Segment>,
    ) {
        let open = match self.open.get_mut(&connection) {
            Some(open) => open,
            None => self.begin(connection, call, out),
        };
        let offset = open.pass(call, direction, to);
        let length = from.saturating_sub(offset);
        let reason = match loss {
            // The kernel half knows of no loss here, so the agent's own queue was full.
            GapReason::Unknown => GapReason::QueueFull,
            loss => loss,
        };
        // Calls that were not followed move the offset not at all.
        if length > 0 || reason == GapReason::InFlightFull {
            let content = SegmentContent::Gap { direction, offset, length, reason };
            out.push(Segment { connection, call, content });
        }
    }

    /// A connection is used.
    fn open(&mut self, connection: ConnectionKey, call: Call, out: &mut Vec<Segment>) {
        match self.open.get_mut(&connection) {
            Some(open) => open.used = call.returned,
            None => self.begin(connection, call, out).used = call.returned,
        }
    }

    fn begin(
        &mut self,
        connection: ConnectionKey,
        call: Call,
        out: &mut Vec<Segment>,
    ) -> &mut Open {
        let ConnectionKey { pid, object, birth } = connection;
        self.census.begin(pid);
        if let Some(birth) = self.newest.insert((pid, object), birth) {
            let before = ConnectionKey { birth, ..connection };
            self.superseded.push_back((call.returned, before));
        }
        if self.open.len() >= MAX_OPEN {
            self.evict(call, out);
        }
        self.open.entry(connection).or_default()
    }

    /// Ends the connections that the kernel half forgot some time ago, and forgets those that ended.
    fn retire(&mut self, call: Call, out: &mut Vec<Segment>) {
        while let Some((since, connection)) = self.superseded.front().copied()
            && call.returned.saturating_sub(since) > PATIENCE
        {
            self.superseded.pop_front();
            self.end(connection, call, out);
        }
        while let Some((since, connection)) = self.ended.front()
            && call.returned.saturating_sub(*since) > PATIENCE
        {
            self.over.remove(connection);
            self.ended.pop_front();
        }
    }

    /// Ends the eighth of all connections that was not used for longest.
    fn evict(&mut self, call: Call, out: &mut Vec<Segment>) {
        let mut all: Vec<_> = self.open.iter().map(|(key, open)| (open.used, *key)).collect();
        let eighth = all.len() / 8;
        let (oldest, ..) = all.select_nth_unstable(eighth);
        for (_, connection) in oldest {
            self.end(*connection, call, out);
        }
    }

    fn end(&mut self, connection: ConnectionKey, call: Call, out: &mut Vec<Segment>) {
        let object = (connection.pid, connection.object);
        if self.newest.get(&object) == Some(&connection.birth) {
            self.newest.remove(&object);
        }
        if self.open.remove(&connection).is_some() {
            self.census.end(connection.pid);
            self.over.insert(connection);
            self.ended.push_back((call.returned, connection));
            out.push(Segment { connection, call, content: SegmentContent::End });
        }
    }

    /// What is still open is of connections whose end found no room, and comes late.
    fn end_process(&mut self, pid: u32, call: Call) {
        for connection in self.of_process(pid) {
            self.superseded.push_back((call.returned, connection));
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const CALL: Call = Call { tid: 2, thread_name: [0; 16], library: 0, entered: 5, returned: 6 };
    const A: ConnectionKey = ConnectionKey { pid: 1, object: 0xa, birth: 1 };
    const B: ConnectionKey = ConnectionKey { pid: 2, object: 0xa, birth: 2 };

    fn data(connection: ConnectionKey, offset: u64, bytes: &'static [u8]) -> Chunk {
        lossy(connection, offset, bytes, GapReason::Unknown)
    }

    fn lossy(key: ConnectionKey, offset: u64, bytes: &'static [u8], loss: GapReason) -> Chunk {
        let direction = Direction::Transmit;
        let bytes = Bytes::from_static(bytes);
        let content = ChunkContent::Data { direction, offset, bytes, loss };
        Chunk { connection: key, call: CALL, content }
    }

    fn close(connection: ConnectionKey, offsets: [u64; 2]) -> Chunk {
        let losses = [GapReason::Limit, GapReason::Unknown];
        Chunk { connection, call: CALL, content: ChunkContent::Close { offsets, losses } }
    }

    /// What comes out for the chunks, as `PID offset+length`, with the reason of a gap.
    fn check(chunks: Vec<Chunk>, expect: &[&str]) {
        let mut streams = Streams::default();
        let mut out = Vec::new();
        for chunk in chunks {
            streams.push(chunk, &mut out);
        }
        let shown: Vec<_> = out
            .iter()
            .map(|segment| match &segment.content {
                SegmentContent::Data { offset, bytes, .. } => {
                    format!("{} {offset}+{}", segment.connection.pid, bytes.len())
                }
                SegmentContent::Gap { offset, length, reason, direction } => {
                    let side = direction.index();
                    format!(
                        "{} {side} gap {offset}+{length} {}",
                        segment.connection.pid,
                        reason.as_str()
                    )
                }
                SegmentContent::Shutdown => format!("{} shutdown", segment.connection.pid),
                SegmentContent::End => format!("{} end", segment.connection.pid),
            })
            .collect();
        assert_eq!(shown, expect);
    }

    #[test]
    fn chunks_in_order() {
        check(
            vec![data(A, 0, b"abc"), data(B, 0, b"x"), data(A, 3, b"d")],
            &["1 0+3", "2 0+1", "1 3+1"],
        );
    }

    #[test]
    fn a_hole_has_its_reason() {
        check(
            vec![data(A, 0, b"abc"), lossy(A, 10, b"d", GapReason::RingFull), data(A, 12, b"e")],
            &["1 0+3", "1 0 gap 3+7 ring-full", "1 10+1", "1 0 gap 11+1 queue-full", "1 12+1"],
        );
    }

    #[test]
    fn a_lost_tail_shows_at_the_end() {
        check(
            vec![data(A, 0, b"abc"), close(A, [5, 2]), close(B, [0, 9])],
            &[
                "1 0+3",
                "1 0 gap 3+2 limit",
                "1 1 gap 0+2 queue-full",
                "1 end",
                "2 1 gap 0+9 queue-full",
                "2 end",
            ],
        );
    }

    #[test]
    fn the_end_of_a_process_waits_for_those_of_its_connections() {
        let exit = || Chunk { connection: A, call: CALL, content: ChunkContent::Exit };
        let late = || later(data(B, 1, b"c"), 2 * PATIENCE);
        check(
            vec![data(A, 0, b"a"), data(B, 0, b"b"), exit(), late()],
            &["1 0+1", "2 0+1", "1 end", "2 1+1"],
        );
        check(
            vec![data(A, 0, b"a"), exit(), close(A, [3, 0]), late()],
            &["1 0+1", "1 0 gap 1+2 limit", "1 end", "2 0 gap 0+1 queue-full", "2 1+1"],
        );
    }

    #[test]
    fn data_without_bytes_tells_nothing() {
        check(
            vec![data(A, 0, b"abc"), data(A, 3, b""), data(A, 5, b""), data(A, 5, b"d")],
            &["1 0+3", "1 0 gap 3+2 queue-full", "1 5+1"],
        );
    }

    #[test]
    fn calls_that_were_not_followed() {
        let missed = lossy(A, 3, b"d", GapReason::InFlightFull);
        check(vec![data(A, 0, b"abc"), missed], &["1 0+3", "1 0 gap 3+0 in-flight-full", "1 3+1"]);
    }

    #[test]
    fn a_gap_that_the_kernel_half_tells() {
        let content = ChunkContent::Gap {
            direction: Direction::Transmit,
            offset: 5,
            length: 7,
            reason: GapReason::KernelTls,
            loss: GapReason::RingFull,
        };
        check(
            vec![
                data(A, 0, b"abc"),
                Chunk { connection: A, call: CALL, content },
                data(A, 12, b"x"),
            ],
            &["1 0+3", "1 0 gap 3+2 ring-full", "1 0 gap 5+7 kernel-tls", "1 12+1"],
        );
    }

    /// A later connection on the same object.
    const A2: ConnectionKey = ConnectionKey { birth: 9, ..A };

    fn later(mut chunk: Chunk, returned: u64) -> Chunk {
        chunk.call.returned = returned;
        chunk
    }

    #[test]
    fn an_object_used_again_ends_what_was_before_in_time() {
        let late = later(data(B, 0, b"b"), 2 * PATIENCE);
        check(
            vec![data(A, 0, b"abc"), data(A2, 0, b"x"), late],
            &["1 0+3", "1 0+1", "1 end", "2 0+1"],
        );
    }

    #[test]
    fn an_end_may_come_twice() {
        check(
            vec![data(A, 0, b"abc"), close(A, [3, 0]), close(A, [3, 0]), data(B, 0, b"b")],
            &["1 0+3", "1 end", "2 0+1"],
        );
    }

    #[test]
    fn an_end_may_come_late() {
        check(
            vec![data(A, 0, b"abc"), data(A2, 0, b"x"), close(A, [5, 0]), data(A2, 1, b"y")],
            &["1 0+3", "1 0+1", "1 0 gap 3+2 limit", "1 end", "1 1+1"],
        );
    }

    #[test]
    fn there_is_a_bound() {
        let mut streams = Streams::default();
        let mut out = Vec::new();
        for birth in 0..=MAX_OPEN as u64 {
            let connection = ConnectionKey { pid: 1, object: birth, birth };
            streams.push(later(data(connection, 0, b"a"), birth), &mut out);
        }
        let ended: Vec<_> = out
            .iter()
            .filter(|segment| segment.content == SegmentContent::End)
            .map(|segment| segment.connection.birth)
            .collect();
        assert_eq!(ended.len(), MAX_OPEN / 8);
        assert!(ended.iter().all(|birth| *birth < MAX_OPEN as u64 / 8));
        assert_eq!(streams.of_process(1).len(), MAX_OPEN + 1 - MAX_OPEN / 8);
    }
}
