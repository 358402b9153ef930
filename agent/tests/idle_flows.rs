//! What a connection costs that is open and says nothing: a process may keep thousands.

use std::collections::HashMap;

use bytes::Bytes;
use tlstap::{
    capture::{Call, Chunk, ChunkContent, ConnectionKey, Direction, GapReason},
    decode::{Connection, Options},
    reassemble::Streams,
};

const FLOWS: u64 = 20_000;
/// Bytes of memory a flow.
const LIMIT: usize = 1024;

const REQUEST: &[u8] = b"GET /some/path HTTP/1.1\r\nHost: web\r\nUser-Agent: test\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Bytes that the program has allocated. Alone in its process, so that it is this test's.
fn allocated() -> usize {
    // SAFETY: plain query (mallinfo2(3)).
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

fn chunk(object: u64, direction: Direction, bytes: &'static [u8]) -> Chunk {
    let connection = ConnectionKey { pid: 1, object, birth: object };
    let call = Call { tid: 1, thread_name: [0; 16], library: 0, entered: 1, returned: 2 };
    let bytes = Bytes::from_static(bytes);
    let content = ChunkContent::Data { direction, offset: 0, bytes, loss: GapReason::Unknown };
    Chunk { connection, call, content }
}

#[test]
fn an_idle_flow_costs_little() {
    let mut streams = Streams::default();
    let mut decoders: HashMap<ConnectionKey, Connection> = HashMap::new();
    let options = Options { keep_bodies: true, body_limit: 1 << 20 };
    let (mut segments, mut messages) = (Vec::new(), Vec::new());
    let mut exchanges = 0;
    let before = allocated();
    for object in 0..FLOWS {
        for (direction, bytes) in [(Direction::Transmit, REQUEST), (Direction::Receive, RESPONSE)] {
            streams.push(chunk(object, direction, bytes), &mut segments);
        }
        for segment in segments.drain(..) {
            let new = || Connection::new(&options);
            let decoder = decoders.entry(segment.connection).or_insert_with(new);
            decoder.push(&segment, &mut messages);
        }
        exchanges += messages.drain(..).count() as u64;
    }
    let each = (allocated() - before) / usize::try_from(FLOWS).unwrap();
    assert_eq!(exchanges, FLOWS);
    assert!(each <= LIMIT, "{each} bytes a flow");
    println!("{each} bytes a flow");
}
