//! The expected offset of every stream, and what is missing before the next chunk.

use std::collections::HashMap;

use super::{Segment, SegmentContent};
use crate::capture::{Call, Chunk, ChunkContent, ConnectionKey, Direction, GapReason};

/// The streams of all connections.
#[derive(Debug, Default)]
pub struct Streams {
    /// By [`Direction::index`]: where the next byte is expected.
    expected: HashMap<ConnectionKey, [u64; 2]>,
}

impl Streams {
    /// Takes a chunk and appends the segments that follow from it.
    pub fn push(&mut self, chunk: Chunk, out: &mut Vec<Segment>) {
        let Chunk { connection, call, content } = chunk;
        match content {
            ChunkContent::Data { direction, offset, bytes, loss } => {
                let end = offset.saturating_add(bytes.len() as u64);
                out.extend(self.gap(connection, call, direction, offset, loss));
                *direction.of_mut(self.expected.entry(connection).or_default()) = end;
                let content = SegmentContent::Data { direction, offset, bytes };
                out.push(Segment { connection, call, content });
            }
            ChunkContent::Close { offsets, losses } => {
                // A connection of which every chunk was lost must still be told.
                self.expected.entry(connection).or_default();
                for direction in Direction::BOTH {
                    let (end, loss) = (*direction.of(&offsets), *direction.of(&losses));
                    out.extend(self.gap(connection, call, direction, end, loss));
                }
                self.end(connection, call, out);
            }
            // From here on there is something to end.
            ChunkContent::Socket(_) => {
                self.expected.entry(connection).or_default();
            }
            ChunkContent::Exit => self.end_process(connection.pid, call, out),
        }
    }

    /// What is missing before `offset`.
    fn gap(
        &self,
        connection: ConnectionKey,
        call: Call,
        direction: Direction,
        end: u64,
        loss: GapReason,
    ) -> Option<Segment> {
        let offset = self.expected.get(&connection).map_or(0, |both| *direction.of(both));
        let length = end.checked_sub(offset).filter(|&length| length > 0)?;
        // The kernel half knows of no loss here, so the agent's own queue was full.
        let reason = if loss == GapReason::Unknown { GapReason::QueueFull } else { loss };
        let content = SegmentContent::Gap { direction, offset, length, reason };
        Some(Segment { connection, call, content })
    }

    fn end(&mut self, connection: ConnectionKey, call: Call, out: &mut Vec<Segment>) {
        if self.expected.remove(&connection).is_some() {
            out.push(Segment { connection, call, content: SegmentContent::End });
        }
    }

    fn end_process(&mut self, pid: u32, call: Call, out: &mut Vec<Segment>) {
        let mut ended: Vec<_> =
            self.expected.keys().copied().filter(|key| key.pid == pid).collect();
        // In the order in which they began, so that output does not depend on hashing.
        ended.sort_unstable_by_key(|key| (key.birth, *key));
        for connection in ended {
            self.end(connection, call, out);
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
    fn a_process_ends_with_all_its_connections() {
        let exit = Chunk { connection: A, call: CALL, content: ChunkContent::Exit };
        check(vec![data(A, 0, b"a"), data(B, 0, b"b"), exit], &["1 0+1", "2 0+1", "1 end"]);
    }
}
