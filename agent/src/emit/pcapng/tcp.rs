//! What two sides say in, TCP segments in IP packets out: a handshake, data, holes in the sequence
//! numbers where plaintext is missing, and an end (RFC 9293).

use std::net::{IpAddr, SocketAddr};

use etherparse::{
    IpHeaders, PacketBuilder, PacketBuilderStep, TcpHeader, TcpOptionElement,
    err::packet::BuildWriteError,
};

use crate::capture::Direction;

/// Most bytes of a segment: what is left of IPv4's 65,535 behind both headers.
const SEGMENT_LIMIT: usize = 65_535 - 20 - 20;
/// As wide as windows get (RFC 7323, section 2.3).
const WINDOW: u16 = u16::MAX;
const WINDOW_SCALE: u8 = 14;
/// So many bytes of one side are acknowledged though the other has nothing to say.
const ACKNOWLEDGE: u32 = 1 << 20;
/// A hole is shown no larger: half of all sequence numbers further would be in the past, and what
/// is beyond the window too looks wrong.
const HOLE_LIMIT: u64 = 1 << 29;
const TTL: u8 = 64;

/// A connection. Directions are seen from the process: it sends what it transmits.
#[derive(Debug)]
pub(super) struct Tcp {
    /// By [`Direction::index`]: who sends in that direction.
    ends: [SocketAddr; 2],
    /// Likewise.
    sides: [Side; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// The sequence number of its next byte.
    next: u32,
    /// Behind the last byte of it that is in a packet.
    sent: u32,
    /// What the other side has acknowledged.
    acknowledged: u32,
    /// Whether its end is sent.
    finished: bool,
}

/// Takes packets, with the direction that they go.
pub(super) trait Wire {
    fn put(&mut self, direction: Direction, packet: &[u8]);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Syn,
    SynAck,
    Ack,
    Data,
    Fin,
}

impl Tcp {
    /// Opens a connection between `local` and `peer`; `client` is the direction in which the one
    /// sends that opens it, and `first` its first sequence number.
    pub(super) fn open(
        [local, peer]: [SocketAddr; 2],
        client: Direction,
        first: u32,
        wire: &mut impl Wire,
    ) -> Self {
        let side = Side { next: first, sent: first, acknowledged: first, finished: false };
        let mut tcp = Self { ends: [local, peer], sides: [side; 2] };
        tcp.send(client, Kind::Syn, &[], wire);
        tcp.send(client.opposite(), Kind::SynAck, &[], wire);
        tcp.send(client, Kind::Ack, &[], wire);
        tcp
    }

    /// The next bytes.
    pub(super) fn data(&mut self, direction: Direction, bytes: &[u8], wire: &mut impl Wire) {
        for part in bytes.chunks(SEGMENT_LIMIT) {
            self.send(direction, Kind::Data, part, wire);
            let Side { sent, acknowledged, .. } = *direction.of(&self.sides);
            if sent.wrapping_sub(acknowledged) >= ACKNOWLEDGE {
                self.send(direction.opposite(), Kind::Ack, &[], wire);
            }
        }
    }

    /// The next bytes are missing; 0 when nobody knows how many.
    pub(super) fn skip(&mut self, direction: Direction, length: u64) {
        let length = u32::try_from(length.clamp(1, HOLE_LIMIT)).unwrap_or(u32::MAX);
        let side = direction.of_mut(&mut self.sides);
        let hole = side.next.wrapping_sub(side.sent);
        let room = (1 << 29) - hole.min(1 << 29);
        side.next = side.next.wrapping_add(length.min(room));
    }

    /// Nothing more comes in a direction.
    pub(super) fn finish(&mut self, direction: Direction, wire: &mut impl Wire) {
        if !direction.of(&self.sides).finished {
            self.send(direction, Kind::Fin, &[], wire);
            direction.of_mut(&mut self.sides).finished = true;
        }
    }

    /// Nothing more comes.
    pub(super) fn close(&mut self, wire: &mut impl Wire) {
        self.finish(Direction::Transmit, wire);
        self.finish(Direction::Receive, wire);
        self.send(Direction::Transmit, Kind::Ack, &[], wire);
    }

    fn send(&mut self, direction: Direction, kind: Kind, bytes: &[u8], wire: &mut impl Wire) {
        let mut packet = Vec::with_capacity(bytes.len() + 80);
        let other = direction.opposite();
        let acknowledged = other.of(&self.sides).sent;
        // Never fails: no part is too long.
        if self.packet(direction, kind, acknowledged, bytes, &mut packet).is_ok() {
            wire.put(direction, &packet);
        }
        if kind != Kind::Syn {
            other.of_mut(&mut self.sides).acknowledged = acknowledged;
        }
        let length = match kind {
            // They count as a byte.
            Kind::Syn | Kind::SynAck | Kind::Fin => 1,
            Kind::Ack => return,
            Kind::Data => u32::try_from(bytes.len()).unwrap_or(0),
        };
        let side = direction.of_mut(&mut self.sides);
        side.next = side.next.wrapping_add(length);
        side.sent = side.next;
    }

    fn packet(
        &self,
        direction: Direction,
        kind: Kind,
        acknowledged: u32,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), BuildWriteError> {
        let (from, to) = (*direction.of(&self.ends), *direction.opposite().of(&self.ends));
        let side = direction.of(&self.sides);
        // What only acknowledges stands where the last packet ended, before a hole.
        let sequence = if kind == Kind::Ack { side.sent } else { side.next };
        let mut header = TcpHeader::new(from.port(), to.port(), sequence, WINDOW);
        header.syn = matches!(kind, Kind::Syn | Kind::SynAck);
        header.ack = kind != Kind::Syn;
        header.acknowledgment_number = if header.ack { acknowledged } else { 0 };
        header.psh = kind == Kind::Data;
        header.fin = kind == Kind::Fin;
        if header.syn {
            // Cannot fail: they fit.
            let _ = header.set_options(&[
                TcpOptionElement::MaximumSegmentSize(u16::MAX),
                TcpOptionElement::WindowScale(WINDOW_SCALE),
            ]);
        }
        internet(from.ip(), to.ip()).tcp_header(header).write(out, bytes)
    }
}

fn internet(from: IpAddr, to: IpAddr) -> PacketBuilderStep<IpHeaders> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => PacketBuilder::ipv4(from.octets(), to.octets(), TTL),
        (from, to) => PacketBuilder::ipv6(v6(from), v6(to), TTL),
    }
}

fn v6(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
