//! One record of the ring buffer, read field by field.

use std::{borrow::Cow, fmt, mem::offset_of, str::FromStr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tlstap_ebpf::{COMM_LEN, RecordHeader, direction, kind, loss};

use super::{Blocks, Socket, fields::Fields};

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

    /// The fixed word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transmit => "transmit",
            Self::Receive => "receive",
        }
    }

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
    /// The kernel sent the bytes from a file: they never were in the process's memory.
    KernelTls,
    /// Calls were not followed, since too many were in flight: an unknown number of bytes.
    InFlightFull,
    /// The agent's own queue was full.
    QueueFull,
    /// The agent had no room to keep the beginning of a message until its end.
    Memory,
    /// Only the beginning of each call was copied, since the agent took too much.
    Reduced,
    /// Only some processes were copied, since the agent took too much.
    Sampled,
    /// The probes were taken off, since the agent took too much: an unknown number of bytes.
    Detached,
    /// The process moved more bytes a second than the limit.
    RateLimited,
    /// Bytes are missing for a reason that was not recorded.
    Unknown,
}

impl GapReason {
    /// All of them, in the order in which they are declared.
    pub const ALL: [Self; 12] = [
        Self::RingFull,
        Self::Fault,
        Self::Limit,
        Self::KernelTls,
        Self::InFlightFull,
        Self::QueueFull,
        Self::Memory,
        Self::Reduced,
        Self::Sampled,
        Self::Detached,
        Self::RateLimited,
        Self::Unknown,
    ];

    /// The reason for a code of [`tlstap_ebpf::loss`].
    pub const fn from_code(code: u8) -> Self {
        match code {
            loss::RING_FULL => Self::RingFull,
            loss::FAULT => Self::Fault,
            loss::LIMIT => Self::Limit,
            loss::KERNEL_TLS => Self::KernelTls,
            loss::IN_FLIGHT_FULL => Self::InFlightFull,
            loss::REDUCED => Self::Reduced,
            loss::SAMPLED => Self::Sampled,
            loss::DETACHED => Self::Detached,
            loss::RATE_LIMITED => Self::RateLimited,
            _ => Self::Unknown,
        }
    }

    /// The fixed word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RingFull => "ring-full",
            Self::Fault => "fault",
            Self::Limit => "limit",
            Self::KernelTls => "kernel-tls",
            Self::InFlightFull => "in-flight-full",
            Self::QueueFull => "queue-full",
            Self::Memory => "memory",
            Self::Reduced => "reduced",
            Self::Sampled => "sampled",
            Self::Detached => "detached",
            Self::RateLimited => "rate-limited",
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

impl FromStr for ConnectionKey {
    type Err = String;

    /// As it is shown.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| {
            let digits = part.bytes().all(|byte| byte.is_ascii_hexdigit());
            digits.then(|| u64::from_str_radix(part, 16).ok()).flatten()
        };
        let numbers: Option<Vec<u64>> = text.split('-').map(number).collect();
        match numbers.as_deref() {
            Some(&[pid, object, birth]) if let Ok(pid) = u32::try_from(pid) => {
                Ok(Self { pid, object, birth })
            }
            _ => Err("write it as network.connection.id has it, such as 29-7f00-abc".to_owned()),
        }
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
    pub fn thread_name(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.thread_name.split(|&b| b == 0).next().unwrap_or(&[]))
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
    /// Bytes that were not copied.
    Gap {
        /// Direction of the bytes.
        direction: Direction,
        /// Position of the first of them in the stream of this direction.
        offset: u64,
        /// How many they are.
        length: u64,
        /// Why.
        reason: GapReason,
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
    Socket(Socket),
    /// The TLS object was given another transport: its socket is not known any more.
    Unbound,
    /// A call sent, and no socket was used in it.
    Elsewhere,
    /// The TLS object was given this file descriptor as its socket.
    Descriptor(u32),
    /// The process sends nothing more on the connection.
    Shutdown,
    /// The process ended, and all its TLS objects with it.
    Exit,
}

const HEADER: usize = size_of::<RecordHeader>();

impl Chunk {
    /// Reads one record; its payload goes into a block. `None` when it is shorter than it says or
    /// of an unknown kind.
    pub fn read(record: &[u8], blocks: &mut Blocks) -> Option<Self> {
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
        let content = match field.u8(offset_of!(RecordHeader, kind))? {
            kind::DATA => field.data(rest, blocks)?,
            kind::GAP => field.gap()?,
            kind::CLOSE => field.close()?,
            kind::SOCKET => ChunkContent::Socket(Socket::read_tcp(rest)?),
            kind::UNIX => ChunkContent::Socket(Socket::read_unix(rest)?),
            kind::UNBOUND => ChunkContent::Unbound,
            kind::ELSEWHERE => ChunkContent::Elsewhere,
            kind::DESCRIPTOR => ChunkContent::Descriptor(field.u32(offset_of!(RecordHeader, len))?),
            kind::SHUTDOWN => ChunkContent::Shutdown,
            kind::EXIT => ChunkContent::Exit,
            _ => return None,
        };
        Some(Self { connection, call, content })
    }
}

/// The parts of a header that mean something else in each kind of record.
impl Fields<'_> {
    fn data(&self, payload: &[u8], blocks: &mut Blocks) -> Option<ChunkContent> {
        let len = self.u32(offset_of!(RecordHeader, len))?;
        let bytes = payload.get(..usize::try_from(len).ok()?)?;
        Some(ChunkContent::Data {
            direction: self.direction()?,
            offset: self.u64(offset_of!(RecordHeader, offset))?,
            bytes: blocks.copy(bytes),
            loss: self.reason(offset_of!(RecordHeader, loss))?,
        })
    }

    fn gap(&self) -> Option<ChunkContent> {
        Some(ChunkContent::Gap {
            direction: self.direction()?,
            offset: self.u64(offset_of!(RecordHeader, offset))?,
            length: self.u64(offset_of!(RecordHeader, call_len))?,
            reason: self.reason(offset_of!(RecordHeader, loss))?,
            loss: self.reason(offset_of!(RecordHeader, function))?,
        })
    }

    fn close(&self) -> Option<ChunkContent> {
        Some(ChunkContent::Close {
            offsets: [
                self.u64(offset_of!(RecordHeader, offset))?,
                self.u64(offset_of!(RecordHeader, call_len))?,
            ],
            losses: [
                self.reason(offset_of!(RecordHeader, loss))?,
                self.reason(offset_of!(RecordHeader, function))?,
            ],
        })
    }

    fn direction(&self) -> Option<Direction> {
        match self.u8(offset_of!(RecordHeader, direction))? {
            direction::TRANSMIT => Some(Direction::Transmit),
            direction::RECEIVE => Some(Direction::Receive),
            _ => None,
        }
    }

    fn reason(&self, at: usize) -> Option<GapReason> {
        self.u8(at).map(GapReason::from_code)
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
        let chunk = Chunk::read(&bytes, &mut Blocks::default()).unwrap();
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

    #[test]
    fn a_gap() {
        let mut bytes = record(kind::GAP, b"");
        bytes[offset_of!(RecordHeader, call_len)] = 9;
        bytes[offset_of!(RecordHeader, loss)] = loss::KERNEL_TLS;
        bytes[offset_of!(RecordHeader, function)] = loss::RING_FULL;
        let expect = ChunkContent::Gap {
            direction: Direction::Receive,
            offset: 7,
            length: 9,
            reason: GapReason::KernelTls,
            loss: GapReason::RingFull,
        };
        assert_eq!(Chunk::read(&bytes, &mut Blocks::default()).unwrap().content, expect);
    }

    #[test]
    fn every_cut_is_refused_or_whole() {
        let bytes = record(kind::DATA, b"hello");
        for cut in 0..bytes.len() {
            assert_eq!(Chunk::read(&bytes[..cut], &mut Blocks::default()), None, "cut at {cut}");
        }
        assert_eq!(Chunk::read(&record(99, b""), &mut Blocks::default()), None);
    }
}
