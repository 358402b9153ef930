//! One record of the ring buffer, read field by field.

use std::{
    fmt,
    mem::offset_of,
    net::{IpAddr, SocketAddr},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tlstap_ebpf::{AF_INET, AF_INET6, COMM_LEN, RecordHeader, direction, kind, loss};

/// The direction of plaintext, seen from the traced process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The process sent the bytes.
    Transmit,
    /// The process received the bytes.
    Receive,
}

impl Direction {
    /// Both, in the order of [`Direction::index`].
    pub const BOTH: [Self; 2] = [Self::Transmit, Self::Receive];

    /// 0 for transmit, 1 for receive.
    pub const fn index(self) -> usize {
        match self {
            Self::Transmit => 0,
            Self::Receive => 1,
        }
    }

    /// The value of this direction among those of both.
    pub fn of<T>(self, [transmit, receive]: &[T; 2]) -> &T {
        match self {
            Self::Transmit => transmit,
            Self::Receive => receive,
        }
    }

    /// The value of this direction among those of both, to change.
    pub fn of_mut<T>(self, [transmit, receive]: &mut [T; 2]) -> &mut T {
        match self {
            Self::Transmit => transmit,
            Self::Receive => receive,
        }
    }

    /// The other direction.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Transmit => Self::Receive,
            Self::Receive => Self::Transmit,
        }
    }
}

/// Why plaintext bytes are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// The ring buffer was full.
    RingFull,
    /// The process's memory could not be read.
    Fault,
    /// The call carried more than the limit per call.
    Limit,
    /// The agent's own queue was full.
    QueueFull,
    /// Bytes are missing for a reason that was not recorded.
    Unknown,
}

impl GapReason {
    /// The reason for a code of [`tlstap_ebpf::loss`].
    pub const fn from_code(code: u8) -> Self {
        match code {
            loss::RING_FULL => Self::RingFull,
            loss::FAULT => Self::Fault,
            loss::LIMIT => Self::Limit,
            _ => Self::Unknown,
        }
    }

    /// The fixed word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RingFull => "ring-full",
            Self::Fault => "fault",
            Self::Limit => "limit",
            Self::QueueFull => "queue-full",
            Self::Unknown => "unknown",
        }
    }
}

/// Names one TLS connection of one process, for as long as the TLS object lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionKey {
    /// The process, as the host numbers it.
    pub pid: u32,
    /// Address of the TLS object in the process.
    pub object: u64,
    /// `CLOCK_MONOTONIC` nanoseconds when the kernel half first saw the object.
    pub birth: u64,
}

impl fmt::Display for ConnectionKey {
    /// The value of `network.connection.id`: opaque, unique on this node since boot.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}", self.pid, self.object, self.birth)
    }
}

/// Who moved the bytes, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The calling thread, as the host numbers it.
    pub tid: u32,
    /// Name of the calling thread, NUL-padded.
    pub thread_name: [u8; COMM_LEN],
    /// The agent's number of the library that was called.
    pub library: u32,
    /// When the call was entered, `CLOCK_MONOTONIC` nanoseconds.
    pub entered: u64,
    /// When the call returned, `CLOCK_MONOTONIC` nanoseconds.
    pub returned: u64,
}

impl Call {
    /// The thread's name up to the first NUL, with invalid UTF-8 replaced.
    pub fn thread_name(&self) -> String {
        String::from_utf8_lossy(self.thread_name.split(|&b| b == 0).next().unwrap_or(&[]))
            .into_owned()
    }
}

/// What one record says. A recording holds it as serde writes it: docs/recording.md says what a
/// change of it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// The connection it belongs to.
    pub connection: ConnectionKey,
    /// The call that moved the bytes, or that ended the object.
    pub call: Call,
    /// Data, or the end.
    pub content: ChunkContent,
}

/// The part of a [`Chunk`] that differs by kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChunkContent {
    /// Plaintext.
    Data {
        /// Direction of the bytes.
        direction: Direction,
        /// Position of the first byte in the stream of this direction.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
        /// Why bytes just before `offset` are missing, if they are.
        loss: GapReason,
    },
    /// The TLS object was freed; final offsets by [`Direction::index`].
    Close {
        /// Bytes that each direction's stream had, delivered or not.
        offsets: [u64; 2],
        /// Why bytes just before them are missing, if they are.
        losses: [GapReason; 2],
    },
    /// The connection's socket became known.
    Socket(Endpoints),
    /// The process ended, and all its TLS objects with it.
    Exit,
}

/// The addresses of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The traced process's.
    pub local: SocketAddr,
    /// The other side's.
    pub peer: SocketAddr,
}

const HEADER: usize = size_of::<RecordHeader>();

impl Chunk {
    /// Reads one record. `None` when it is shorter than it says or of an unknown kind.
    pub fn read(record: &[u8]) -> Option<Self> {
        let (header, rest) = record.split_first_chunk::<HEADER>()?;
        let field = Fields(header);
        let connection = ConnectionKey {
            pid: field.u32(offset_of!(RecordHeader, tgid))?,
            object: field.u64(offset_of!(RecordHeader, object))?,
            birth: field.u64(offset_of!(RecordHeader, birth))?,
        };
        let call = Call {
            tid: field.u32(offset_of!(RecordHeader, tid))?,
            thread_name: field.bytes(offset_of!(RecordHeader, comm))?,
            library: field.u32(offset_of!(RecordHeader, library))?,
            entered: field.u64(offset_of!(RecordHeader, entered))?,
            returned: field.u64(offset_of!(RecordHeader, returned))?,
        };
        let offset = field.u64(offset_of!(RecordHeader, offset))?;
        let content = match header[offset_of!(RecordHeader, kind)] {
            kind::DATA => {
                let len = field.u32(offset_of!(RecordHeader, len))?;
                let bytes = rest.get(..usize::try_from(len).ok()?)?;
                ChunkContent::Data {
                    direction: match header[offset_of!(RecordHeader, direction)] {
                        direction::TRANSMIT => Direction::Transmit,
                        direction::RECEIVE => Direction::Receive,
                        _ => return None,
                    },
                    offset,
                    bytes: Bytes::copy_from_slice(bytes),
                    loss: GapReason::from_code(header[offset_of!(RecordHeader, loss)]),
                }
            }
            kind::CLOSE => ChunkContent::Close {
                offsets: [offset, field.u64(offset_of!(RecordHeader, call_len))?],
                losses: [
                    GapReason::from_code(header[offset_of!(RecordHeader, loss)]),
                    GapReason::from_code(header[offset_of!(RecordHeader, function)]),
                ],
            },
            kind::SOCKET => ChunkContent::Socket(Endpoints::read(rest)?),
            kind::EXIT => ChunkContent::Exit,
            _ => return None,
        };
        Some(Self { connection, call, content })
    }
}

impl Endpoints {
    fn read(payload: &[u8]) -> Option<Self> {
        type Layout = tlstap_ebpf::Endpoints;
        let field = Fields(payload.get(..size_of::<Layout>())?);
        let family = u16::try_from(field.u32(offset_of!(Layout, family))?).ok()?;
        let port = |at| u16::try_from(field.u32(at)?).ok();
        let address = |at| match family {
            AF_INET => Some(IpAddr::from(field.bytes::<4>(at)?)),
            // A socket for both carries IPv4 in IPv6 (RFC 4291, section 2.5.5.2).
            AF_INET6 => Some(IpAddr::from(field.bytes::<16>(at)?).to_canonical()),
            _ => None,
        };
        let local = address(offset_of!(Layout, local))?;
        let peer = address(offset_of!(Layout, peer))?;
        let local_port = port(offset_of!(Layout, local_port))?;
        let peer_port = u16::from_be(port(offset_of!(Layout, peer_port))?);
        Some(Self {
            local: SocketAddr::new(local, local_port),
            peer: SocketAddr::new(peer, peer_port),
        })
    }
}

/// Fields of a structure at their offsets.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..)?.first_chunk().copied()
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_ne_bytes)
    }

    fn u64(&self, at: usize) -> Option<u64> {
        self.bytes(at).map(u64::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[offset_of!(RecordHeader, kind)] = kind;
        bytes[offset_of!(RecordHeader, direction)] = direction::RECEIVE;
        bytes[offset_of!(RecordHeader, loss)] = loss::FAULT;
        bytes[offset_of!(RecordHeader, len)] = u8::try_from(payload.len()).unwrap();
        bytes[offset_of!(RecordHeader, tgid)] = 41;
        bytes[offset_of!(RecordHeader, offset)] = 7;
        bytes[offset_of!(RecordHeader, comm)..][..4].copy_from_slice(b"curl");
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn data() {
        let mut bytes = record(kind::DATA, b"hello");
        // The size class leaves bytes behind the payload.
        bytes.extend_from_slice(&[0xff; 59]);
        let chunk = Chunk::read(&bytes).unwrap();
        assert_eq!(chunk.connection, ConnectionKey { pid: 41, object: 0, birth: 0 });
        assert_eq!(chunk.call.thread_name(), "curl");
        let expect = ChunkContent::Data {
            direction: Direction::Receive,
            offset: 7,
            bytes: Bytes::from_static(b"hello"),
            loss: GapReason::Fault,
        };
        assert_eq!(chunk.content, expect);
    }

    fn socket(family: u16, local: &[u8], peer: &[u8]) -> Option<ChunkContent> {
        let mut payload = vec![0; size_of::<tlstap_ebpf::Endpoints>()];
        payload[..4].copy_from_slice(&u32::from(family).to_ne_bytes());
        payload[4..8].copy_from_slice(&43210_u32.to_ne_bytes());
        payload[8..12].copy_from_slice(&u32::from(443_u16.to_be()).to_ne_bytes());
        payload[16..16 + local.len()].copy_from_slice(local);
        payload[32..32 + peer.len()].copy_from_slice(peer);
        Chunk::read(&record(kind::SOCKET, &payload)).map(|chunk| chunk.content)
    }

    #[test]
    fn sockets() {
        let check = |found, local: &str, peer: &str| {
            let (local, peer) = (local.parse().unwrap(), peer.parse().unwrap());
            assert_eq!(found, Some(ChunkContent::Socket(Endpoints { local, peer })));
        };
        let v4 = socket(AF_INET, &[172, 17, 0, 2], &[172, 17, 0, 3]);
        check(v4, "172.17.0.2:43210", "172.17.0.3:443");
        let (mut local, mut peer) = ([0; 16], [0; 16]);
        (local[15], peer[0], peer[15]) = (1, 0xfd, 2);
        check(socket(AF_INET6, &local, &peer), "[::1]:43210", "[fd00::2]:443");
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
        check(socket(AF_INET6, &mapped, &mapped), "10.0.0.1:43210", "10.0.0.1:443");
        assert_eq!(socket(1, &[], &[]), None);
    }

    #[test]
    fn every_cut_is_refused_or_whole() {
        let bytes = record(kind::DATA, b"hello");
        for cut in 0..bytes.len() {
            assert_eq!(Chunk::read(&bytes[..cut]), None, "cut at {cut}");
        }
        assert_eq!(Chunk::read(&record(99, b"")), None);
    }
}
