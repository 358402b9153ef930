//! Records of plaintext in, a pcapng file of TCP connections out, for Wireshark: docs/pcapng.md.
//!
//! Packets are made up; addresses, times and bytes are real. Decoded records are not shown.

mod blocks;
mod comment;
mod node;
mod route;
mod tcp;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use foldhash::HashMap;

use self::{
    blocks::{Packet, Way},
    node::Node,
    tcp::{Tcp, Wire},
};
use crate::{
    capture::{ConnectionKey, Direction},
    decode::Content,
    enrich::Record,
};

/// A file that is being written.
#[derive(Debug, Default)]
pub(super) struct Pcapng {
    /// Those that have not ended; reassembly bounds how many there are.
    connections: HashMap<ConnectionKey, Connection>,
    node: Node,
}

/// A connection.
#[derive(Debug, Default)]
struct Connection {
    /// What is missing before all that was seen, by [`Direction::index`].
    missing: [u64; 2],
    /// Once something was seen.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    interface: u32,
    pair: (SocketAddr, SocketAddr),
    tcp: Tcp,
}

impl Pcapng {
    /// Writes the beginning of a file.
    pub(super) fn begin(out: &mut Vec<u8>) -> Self {
        blocks::section(out);
        Self::default()
    }

    /// Writes the packets of a record.
    pub(super) fn write(&mut self, record: &Record, out: &mut Vec<u8>) {
        let key = record.message.connection;
        match &record.message.content {
            Content::Data { direction, bytes, .. } => {
                let known = self.connections.entry(key).or_default();
                let first = Some((*direction, bytes.as_ref()));
                let open = known.opened(&mut self.node, record, first, out);
                let mut file = File::of(record, open.interface, out);
                open.tcp.data(*direction, bytes, &mut file);
            }
            Content::Gap { direction, length, .. } => {
                self.connections.entry(key).or_default().skip(*direction, *length);
            }
            Content::Closed { whole: true } => {
                // One of which nothing was shown does not end either.
                if let Some(mut known) = self.connections.remove(&key) {
                    let open = known.opened(&mut self.node, record, None, out);
                    open.tcp.close(&mut File::of(record, open.interface, out));
                    self.node.leave(open.pair);
                }
            }
            Content::Closed { whole: false } => {
                let known = self.connections.get_mut(&key);
                if let Some(open) = known.and_then(|known| known.open.as_mut()) {
                    let mut file = File::of(record, open.interface, out);
                    open.tcp.finish(Direction::Transmit, &mut file);
                }
            }
            Content::Http(_)
            | Content::Operation(_)
            | Content::WebSocket(_)
            | Content::Event(_)
            | Content::Opaque { .. } => {}
        }
    }
}

impl Connection {
    /// Opens it, if it is not open; `first` is what is said first on it, if that was seen.
    fn opened(
        &mut self,
        node: &mut Node,
        record: &Record,
        first: Option<(Direction, &[u8])>,
        out: &mut Vec<u8>,
    ) -> &mut Open {
        self.open.get_or_insert_with(|| Open::new(node, record, first, self.missing, out))
    }

    fn skip(&mut self, direction: Direction, length: u64) {
        if let Some(Open { tcp, .. }) = &mut self.open {
            tcp.skip(direction, length);
        } else {
            let missing = direction.of_mut(&mut self.missing);
            *missing = missing.saturating_add(length.max(1));
        }
    }
}

impl Open {
    fn new(
        node: &mut Node,
        record: &Record,
        first: Option<(Direction, &[u8])>,
        missing: [u64; 2],
        out: &mut Vec<u8>,
    ) -> Self {
        let (route, number) = node.enter(record, first);
        let interface = node.interface(record, route.is_second, out);
        let mut file = File::of(record, interface, out);
        file.comment = Some(comment::comment(record));
        // Another one for each connection, so that one that comes after on the same ports is
        // another one for Wireshark too.
        let sequence = number.wrapping_mul(0x9e37_79b1);
        let mut tcp = Tcp::open(route.ends, route.client, sequence, &mut file);
        for direction in Direction::BOTH {
            match *direction.of(&missing) {
                0 => {}
                length => tcp.skip(direction, length),
            }
        }
        Self { interface, pair: route.pair(), tcp }
    }
}

/// Where packets go, with what all those of a record have.
struct File<'a> {
    interface: u32,
    time: u64,
    /// Of the first packet.
    comment: Option<String>,
    out: &'a mut Vec<u8>,
}

impl<'a> File<'a> {
    fn of(record: &Record, interface: u32, out: &'a mut Vec<u8>) -> Self {
        let time = u64::try_from(record.timestamp_ns).unwrap_or(0);
        Self { interface, time, comment: None, out }
    }
}

impl Wire for File<'_> {
    fn put(&mut self, direction: Direction, packet: &[u8]) {
        let way = match direction {
            Direction::Transmit => Way::Out,
            Direction::Receive => Way::In,
        };
        let (interface, time, bytes) = (self.interface, self.time, packet);
        let comment = self.comment.take();
        let comment = comment.as_deref();
        blocks::packet(&Packet { interface, time, way, bytes, comment }, self.out);
    }
}
