//! Records of the ring: read and put into order, as the reader and the decoders do it.

use std::{collections::HashMap, mem::offset_of};

use tlstap::{
    capture::{Blocks, Chunk, ConnectionKey, Direction},
    reassemble::{Segment, SegmentContent, Streams},
};
use tlstap_ebpf::{RecordHeader, direction, kind, loss};

use crate::fields;

/// Each part is a record.
pub(super) fn run(data: &[u8]) {
    let (mut blocks, mut streams) = (Blocks::default(), Streams::default());
    let (mut segments, mut order) = (Vec::new(), Order::default());
    for record in fields::parts(data) {
        let Some(chunk) = Chunk::read(record, &mut blocks) else { continue };
        let _ = chunk.call.thread_name();
        streams.push(chunk, &mut segments);
        segments.drain(..).for_each(|segment| order.check(&segment));
    }
}

/// How far every stream has come.
#[derive(Default)]
struct Order(HashMap<(ConnectionKey, Direction), u64>);

impl Order {
    /// Every byte is told, or a gap. What several threads have written at the same moment may come late.
    fn check(&mut self, segment: &Segment) {
        let (direction, offset, length) = match &segment.content {
            SegmentContent::Data { direction, offset, bytes } => {
                assert!(!bytes.is_empty(), "nothing is told");
                (*direction, *offset, bytes.len() as u64)
            }
            SegmentContent::Gap { direction, offset, length, .. } => (*direction, *offset, *length),
            SegmentContent::Shutdown => return,
            SegmentContent::End => {
                self.0.retain(|(connection, _), _| *connection != segment.connection);
                return;
            }
        };
        let stream = (segment.connection, direction);
        let before = self.0.insert(stream, offset.saturating_add(length)).unwrap_or_default();
        assert!(offset <= before, "nothing tells of what is between {before} and {segment:?}");
    }
}

/// Connections with data, a gap, a socket, an end; and the end of a process.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let data = |direction, offset, payload: &[u8]| record(kind::DATA, direction, offset, payload);
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let sent = request.len() as u64;
    let tcp: Vec<u8> = [2, 443, 0x5000, 1, 9, 0].map(u32::to_ne_bytes).concat();
    let tcp = [&tcp[..], &[127; 32]].concat();
    let unix: Vec<u8> = [1_u32, 9, 12, 0].map(u32::to_ne_bytes).concat();
    let unix = [&unix[..], b"/run/a\x1b.sock", &[0; 212]].concat();
    let transmit = direction::TRANSMIT;
    let all = [
        vec![data(transmit, 0, request), data(direction::RECEIVE, 0, b"HTTP/1.1 200 OK\r\n\r\n")],
        vec![
            data(transmit, 0, request),
            data(transmit, sent + 100, request),
            data(transmit, sent, b"late"),
        ],
        vec![
            record(kind::SOCKET, 0, 0, &tcp),
            record(kind::UNIX, 0, 0, &unix),
            record(kind::UNBOUND, 0, 0, b""),
        ],
        vec![
            data(transmit, 0, request),
            record(kind::GAP, 0, sent, b""),
            record(kind::CLOSE, 0, sent, b""),
        ],
        vec![
            data(transmit, 0, request),
            record(kind::SHUTDOWN, 0, 0, b""),
            record(kind::EXIT, 0, 0, b""),
        ],
        vec![record(kind::DESCRIPTOR, 0, 0, b""), record(kind::ELSEWHERE, 0, 0, b"")],
        vec![data(transmit, u64::MAX - 2, request), record(kind::CLOSE, 0, u64::MAX, b"")],
    ];
    all.into_iter().map(fields::join).collect()
}

fn record(kind: u8, direction: u8, offset: u64, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; size_of::<RecordHeader>()];
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(place) = header.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    put(offset_of!(RecordHeader, kind), &[kind]);
    put(offset_of!(RecordHeader, direction), &[direction]);
    put(offset_of!(RecordHeader, loss), &[loss::RING_FULL]);
    put(offset_of!(RecordHeader, len), &(payload.len() as u32).to_ne_bytes());
    put(offset_of!(RecordHeader, tgid), &41_u32.to_ne_bytes());
    put(offset_of!(RecordHeader, object), &0x1000_u64.to_ne_bytes());
    put(offset_of!(RecordHeader, offset), &offset.to_ne_bytes());
    put(offset_of!(RecordHeader, call_len), &9_u64.to_ne_bytes());
    put(offset_of!(RecordHeader, comm), b"curl");
    [&header[..], payload].concat()
}
