use std::net::Ipv4Addr;

use bytes::Bytes;
use etherparse::{NetSlice, SlicedPacket, TcpSlice, TransportSlice};

use super::{super::sample, *};
use crate::capture::{Endpoints, GapReason, Method, Socket};

/// A packet that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    interface: u32,
    comment: bool,
    from: u16,
    to: u16,
    flags: String,
    sequence: u32,
    acknowledged: u32,
    payload: Vec<u8>,
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The packets in blocks; those that are not sound fail.
fn packets(mut bytes: &[u8]) -> Vec<Seen> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (block, rest) = bytes.split_at(u32_at(bytes, 4) as usize);
        if u32_at(block, 0) == 6 {
            let length = u32_at(block, 20) as usize;
            let comment = block[28 + length.next_multiple_of(4)] == 1;
            found.push(seen(u32_at(block, 8), comment, &block[28..28 + length]));
        }
        bytes = rest;
    }
    found
}

fn seen(interface: u32, comment: bool, packet: &[u8]) -> Seen {
    let sliced = SlicedPacket::from_ip(packet).unwrap();
    let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("no TCP: {sliced:?}") };
    assert_eq!(tcp.checksum(), checksum(&sliced, tcp));
    let flag = |set: bool, name| if set { name } else { "" };
    let flags = [flag(tcp.syn(), "S"), flag(tcp.fin(), "F"), flag(tcp.ack(), "A")].concat();
    Seen {
        interface,
        comment,
        from: tcp.source_port(),
        to: tcp.destination_port(),
        flags,
        sequence: tcp.sequence_number(),
        acknowledged: tcp.acknowledgment_number(),
        payload: tcp.payload().to_vec(),
    }
}

/// What the checksum must be, by another way: the sum of all words with the pseudo header.
fn checksum(sliced: &SlicedPacket<'_>, tcp: &TcpSlice<'_>) -> u16 {
    let mut bytes = match sliced.net.as_ref().unwrap() {
        NetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            [header.source(), header.destination()].concat()
        }
        NetSlice::Ipv6(ip) => [ip.header().source(), ip.header().destination()].concat(),
        NetSlice::Arp(_) => panic!("no IP"),
    };
    let length = u32::try_from(tcp.slice().len()).unwrap();
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 0, 0, 6]);
    let at = bytes.len();
    bytes.extend(tcp.slice());
    bytes[at + 16..at + 18].fill(0);
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let mut sum: u64 =
        bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !u16::try_from(sum).unwrap()
}

struct Check {
    pcapng: Pcapng,
    out: Vec<u8>,
    socket: Option<(String, String)>,
    object: u64,
}

impl Check {
    fn new(local: &str, peer: &str) -> Self {
        let mut out = Vec::new();
        let socket = Some((local.to_owned(), peer.to_owned()));
        Self { pcapng: Pcapng::begin(&mut out), out, socket, object: 1 }
    }

    fn write(&mut self, content: Content) -> Vec<Seen> {
        let mut record = sample::record(content);
        record.message.connection.object = self.object;
        record.socket = self.socket.as_ref().map(|(local, peer)| {
            let endpoints =
                Endpoints::Tcp { local: local.parse().unwrap(), peer: peer.parse().unwrap() };
            Socket { endpoints, namespace: None, method: Method::Nested }.into()
        });
        let at = self.out.len();
        self.pcapng.write(&record, &mut self.out);
        packets(&self.out[at..])
    }

    fn data(&mut self, direction: Direction, bytes: &[u8]) -> Vec<Seen> {
        let bytes = Bytes::copy_from_slice(bytes);
        self.write(Content::Data { direction, offset: 0, bytes })
    }

    fn gap(&mut self, direction: Direction, length: u64) -> Vec<Seen> {
        self.write(Content::Gap { direction, offset: 0, length, reason: GapReason::RingFull })
    }

    fn end(&mut self) -> Vec<Seen> {
        self.write(Content::Closed { whole: true })
    }
}

const GET: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
use Direction::{Receive, Transmit};

fn flags(packets: &[Seen]) -> Vec<&str> {
    packets.iter().map(|packet| packet.flags.as_str()).collect()
}

#[test]
fn a_connection_from_its_handshake_to_its_end() {
    let mut check = Check::new("10.0.0.1:43210", "10.0.0.2:443");
    let asked = check.data(Transmit, GET);
    assert_eq!(flags(&asked), ["S", "SA", "A", "A"]);
    let first = asked[0].sequence;
    assert_eq!((asked[0].from, asked[0].to), (43210, 80));
    assert_eq!((asked[1].from, asked[1].to), (80, 43210));
    assert_eq!(
        asked.iter().map(|packet| packet.comment).collect::<Vec<_>>(),
        [true, false, false, false]
    );
    assert_eq!(asked[3].payload, GET);
    assert_eq!(asked[3].sequence, first + 1);
    let told = check.data(Receive, b"HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!((told[0].sequence, told[0].acknowledged), (first + 1, first + 1 + 18));
    let ended = check.end();
    assert_eq!(flags(&ended), ["FA", "FA", "A"]);
    assert_eq!((ended[0].sequence, ended[0].acknowledged), (first + 19, first + 20));
    assert_eq!((ended[1].sequence, ended[1].acknowledged), (first + 20, first + 20));
    assert!(check.pcapng.connections.is_empty() && check.end().is_empty());
}

#[test]
fn a_server_is_opened_by_its_peer() {
    let mut check = Check::new("[fd00::1]:8443", "[fd00::2]:50000");
    let asked = check.data(Receive, GET);
    assert_eq!((asked[0].from, asked[0].to), (50000, 80));
    // By the ports alone.
    let mut check = Check::new("10.0.0.1:993", "10.0.0.2:50000");
    let asked = check.data(Transmit, b"* OK ready\r\n");
    assert_eq!((asked[0].from, asked[0].to), (50000, 143));
    // By what it says before the client.
    let mut check = Check::new("10.0.0.1:50000", "10.0.0.2:9000");
    let asked = check.data(Receive, b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64");
    assert_eq!((asked[0].from, asked[0].to), (50000, 80));
}

#[test]
fn what_is_missing_is_a_hole() {
    let mut check = Check::new("10.0.0.1:43210", "10.0.0.2:443");
    let before = check.data(Transmit, GET);
    let end = before[3].sequence + 18;
    assert!(check.gap(Transmit, 1000).is_empty());
    // The other side has not seen it.
    assert_eq!(check.data(Receive, b"HTTP/1.1 ")[0].acknowledged, end);
    assert_eq!(check.data(Transmit, b"x")[0].sequence, end + 1000);
    check.gap(Transmit, 0);
    assert_eq!(check.data(Transmit, b"x")[0].sequence, end + 1002);
    // Never so large that it leads back.
    for _ in 0..3 {
        check.gap(Transmit, u64::MAX);
    }
    assert_eq!(check.data(Transmit, b"x")[0].sequence, end + 1003 + (1 << 29));
    check.gap(Transmit, 5);
    let ended = check.end();
    assert_eq!(ended[0].sequence, end + 1004 + (1 << 29) + 5);
}

#[test]
fn what_is_missing_first_does_not_hide_the_protocol() {
    let mut check = Check::new("10.0.0.1:43210", "10.0.0.2:9000");
    assert!(check.gap(Receive, 7).is_empty());
    let asked = check.data(Transmit, GET);
    assert_eq!(asked[0].to, 80);
    let answer = check.data(Receive, b"x");
    assert_eq!(answer[0].sequence, asked[1].sequence + 8);
    // A connection of which nothing else is known.
    check.object = 2;
    check.gap(Receive, 7);
    assert_eq!(flags(&check.end()), ["S", "SA", "A", "FA", "FA", "A"]);
}

#[test]
fn numbers_begin_again_behind_the_last() {
    struct Count(u64, u32);
    impl Wire for Count {
        fn put(&mut self, direction: Direction, packet: &[u8]) {
            let seen = seen(0, false, packet);
            if direction == Transmit && !seen.payload.is_empty() {
                let expected = u32::try_from(self.0 % (1 << 32)).unwrap();
                assert_eq!(seen.sequence, self.1.wrapping_add(1).wrapping_add(expected));
                self.0 += seen.payload.len() as u64;
            } else if direction == Receive && seen.flags == "A" {
                // What the other side acknowledges is what it was sent.
                let expected = u32::try_from(self.0 % (1 << 32)).unwrap();
                assert_eq!(seen.acknowledged, self.1.wrapping_add(1).wrapping_add(expected));
            }
        }
    }
    let end = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
    let first = u32::MAX - 3;
    let mut count = Count(0, first);
    let mut tcp = Tcp::open([end(1), end(2)], Transmit, first, &mut count);
    tcp.data(Transmit, &[7; 100], &mut count);
    assert_eq!(count.0, 100);
    // More than 4 GiB, most of it lost.
    for _ in 0..9 {
        tcp.skip(Transmit, 1 << 29);
        count.0 += 1 << 29;
        tcp.data(Transmit, &[7; 300_000], &mut count);
    }
    assert_eq!(count.0, 100 + 9 * ((1 << 29) + 300_000));
}

#[test]
fn long_pieces_are_split() {
    let mut check = Check::new("10.0.0.1:43210", "10.0.0.2:443");
    let bytes: Vec<u8> = (0..3_000_001_u32).map(|n| n.to_le_bytes()[0]).collect();
    check.data(Transmit, GET);
    let parts = check.data(Receive, &bytes);
    let told: Vec<u8> = parts.iter().flat_map(|part| part.payload.clone()).collect();
    assert_eq!(told, bytes);
    assert_eq!(parts.iter().filter(|part| part.payload.is_empty()).count(), 2);
    assert_eq!(parts[0].payload.len(), 65_495);
}

#[test]
fn both_sides_of_a_connection_are_two() {
    let mut check = Check::new("10.0.0.1:43210", "10.0.0.2:443");
    let client = check.data(Transmit, GET);
    check.object = 2;
    check.socket = Some(("10.0.0.2:443".to_owned(), "10.0.0.1:43210".to_owned()));
    let server = check.data(Receive, GET);
    assert_eq!((client[0].from, client[0].to, client[0].interface), (43210, 80, 0));
    assert_eq!((server[0].from, server[0].to, server[0].interface), (65535, 80, 1));
    check.end();
    check.object = 1;
    check.end();
    assert!(check.pcapng.node.pairs.is_empty());
    // The ports of another side come again only after all others.
    let mut ports = Vec::new();
    for _ in 0..3 {
        check.object += 2;
        check.data(Receive, GET);
        check.object += 1;
        ports.push(check.data(Receive, GET)[0].from);
        check.end();
        check.object -= 1;
        check.end();
    }
    assert_eq!(ports, [65534, 65533, 65532]);
    check.object = 1;
    // The same addresses again are another connection.
    check.object = 3;
    let again = check.data(Receive, GET);
    assert_eq!((again[0].from, again[0].interface), (43210, 0));
    assert_ne!(again[0].sequence, client[0].sequence);
}

#[test]
fn unknown_sockets_are_invented() {
    let mut check = Check::new("", "");
    check.socket = None;
    // PostgreSQL's StartupMessage.
    let asked = check.data(Receive, b"\0\0\0\x09\0\x03\0\0\0");
    assert_eq!((asked[0].from, asked[0].to), (49152, 5432));
    check.object = 2;
    let asked = check.data(Transmit, b"???");
    assert_eq!((asked[0].from, asked[0].to), (49152, 9));
    assert_eq!(check.pcapng.node.pairs.len(), 2);
}

#[test]
fn a_half_that_ends() {
    let mut check = Check::new("10.0.0.1:43210", "10.0.0.2:443");
    check.data(Transmit, GET);
    assert_eq!(flags(&check.write(Content::Closed { whole: false })), ["FA"]);
    assert_eq!(flags(&check.end()), ["FA", "A"]);
}

#[test]
fn the_comment_says_who() {
    let mut record = sample::data(GET);
    record.socket = Some(sample::socket());
    sample::process(&mut record).command = Some("cu\nrl".to_owned());
    sample::container(&mut record).pod = Some(sample::pod());
    let id = "0123456789abcdef".repeat(4);
    let expect = format!(
        "process: cu\\nrl\npid: 41\nexecutable: /usr/bin/curl\ncontainer: shop/web-0/web\n\
         container id: {id}\nimage: web:1\npod: shop/web-0\nlibrary: openssl 3.0.22\n\
         local: 172.17.0.2:43210\npeer: [fd00::3]:443\nconnection: 29-7f00-abc"
    );
    assert_eq!(comment::comment(&record), expect);
}
