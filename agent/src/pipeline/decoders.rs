//! The decoders of all connections, and a bound on what they keep together.

use foldhash::{HashMap, HashMapExt as _};

use crate::{
    capture::ConnectionKey,
    decode::{Connection, Message, Options},
    reassemble::{Segment, SegmentContent},
};

/// A decoder for each connection.
#[derive(Debug)]
pub(super) struct Decoders {
    options: Options,
    connections: HashMap<ConnectionKey, Decoder>,
    /// What all of them keep.
    held: usize,
    limit: usize,
    /// See [`Self::take_malformed`].
    malformed: u64,
}

#[derive(Debug)]
struct Decoder {
    decoder: Connection,
    held: usize,
    malformed: bool,
}

impl Decoders {
    /// `limit`: bytes of unfinished messages that are kept, of all connections together.
    pub(super) fn new(options: Options, limit: usize) -> Self {
        Self { options, connections: HashMap::new(), held: 0, limit, malformed: 0 }
    }

    /// Takes the next segment of a connection and appends what it completes.
    pub(super) fn push(&mut self, segment: &Segment, out: &mut Vec<Message>) {
        let new = || Decoder { decoder: Connection::new(&self.options), held: 0, malformed: false };
        let known = self.connections.entry(segment.connection).or_insert_with(new);
        known.decoder.push(segment, out);
        let held = known.decoder.held();
        self.held = self.held.saturating_sub(known.held).saturating_add(held);
        known.held = held;
        if known.decoder.is_malformed() && !known.malformed {
            known.malformed = true;
            self.malformed += 1;
        }
        if segment.content == SegmentContent::End {
            self.held = self.held.saturating_sub(held);
            self.connections.remove(&segment.connection);
        }
        if self.held > self.limit {
            self.relieve(out);
        }
    }

    /// How many connections turned out to be malformed since the last time.
    pub(super) fn take_malformed(&mut self) -> u64 {
        std::mem::take(&mut self.malformed)
    }

    /// Gives up on all that is unfinished, in the order in which the connections began, so that
    /// output does not depend on hashing.
    pub(super) fn finish(&mut self, out: &mut Vec<Message>) {
        let mut all: Vec<_> = self.connections.drain().collect();
        all.sort_unstable_by_key(|(key, _)| (key.birth, *key));
        for (_, mut known) in all {
            known.decoder.finish(out);
        }
        self.held = 0;
    }

    /// Those who keep the most give it up, until half of the limit is left.
    fn relieve(&mut self, out: &mut Vec<Message>) {
        let mut largest: Vec<_> = self.connections.iter_mut().collect();
        largest.sort_unstable_by_key(|(key, known)| (usize::MAX - known.held, **key));
        for (_, known) in largest {
            if self.held <= self.limit / 2 {
                break;
            }
            known.decoder.give_up(out);
            self.held = self.held.saturating_sub(known.held);
            known.held = known.decoder.held();
            self.held += known.held;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        capture::{Call, Direction, GapReason},
        decode::Content,
    };

    const CALL: Call = Call { tid: 1, thread_name: [0; 16], library: 0, entered: 1, returned: 2 };

    fn segment(object: u64, content: SegmentContent) -> Segment {
        let connection = ConnectionKey { pid: 1, object, birth: object };
        Segment { connection, call: CALL, content }
    }

    fn data(object: u64, offset: u64, text: &str) -> Segment {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        segment(object, SegmentContent::Data { direction: Direction::Transmit, offset, bytes })
    }

    fn decoders(limit: usize) -> Decoders {
        let options = Options { keep_bodies: true, body_limit: 1 << 20 };
        Decoders::new(options, limit)
    }

    /// A head without an end, `length` bytes long.
    fn head(length: usize) -> String {
        let line = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
        format!("{line}{}", "x".repeat(length - line.len()))
    }

    #[test]
    fn the_largest_gives_up_and_says_so() {
        let mut decoders = decoders(30_000);
        let mut out = Vec::new();
        decoders.push(&data(1, 0, &head(2_000)), &mut out);
        decoders.push(&data(2, 0, &head(20_000)), &mut out);
        assert!(out.is_empty());
        decoders.push(&data(3, 0, &head(9_000)), &mut out);
        let gaps: Vec<_> = out
            .iter()
            .map(|message| match message.content {
                Content::Gap { offset, length, reason, .. } => {
                    (message.connection.object, offset, length, reason)
                }
                _ => panic!("{message:?}"),
            })
            .collect();
        assert_eq!(gaps, [(2, 0, 20_000, GapReason::Memory)]);
        assert!(decoders.held < 15_000);
        // It goes on with the next message.
        out.clear();
        decoders.push(&data(2, 20_000, "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"), &mut out);
        decoders.push(&segment(2, SegmentContent::End), &mut out);
        assert!(matches!(&out[..], [Message { content: Content::Http(_), .. }]), "{out:?}");
    }

    #[test]
    fn bodies_are_cut() {
        let mut decoders = decoders(1_000);
        let mut out = Vec::new();
        let head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n";
        decoders.push(&data(1, 0, &format!("{head}{}", "b".repeat(4_000))), &mut out);
        assert!(decoders.held < 500, "{}", decoders.held);
        let at = (head.len() + 4_000) as u64;
        decoders.push(&data(1, at, &"b".repeat(1_000)), &mut out);
        decoders.push(&segment(1, SegmentContent::End), &mut out);
        let [Message { content: Content::Http(exchange), .. }] = &out[..] else {
            panic!("{out:?}")
        };
        let body = &exchange.request.as_ref().unwrap().body;
        assert_eq!((body.size, body.truncated, body.bytes.len()), (5_000, true, 0));
    }

    #[test]
    fn nothing_is_held_behind_the_end() {
        let mut decoders = decoders(30_000);
        let mut out = Vec::new();
        for object in 0..100 {
            decoders.push(&data(object, 0, &head(1_000)), &mut out);
            decoders.push(&segment(object, SegmentContent::End), &mut out);
        }
        assert_eq!((decoders.held, decoders.connections.len()), (0, 0));
    }
}
