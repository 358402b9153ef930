//! The byte layout that the kernel half and the agent share.
//!
//! Everything here crosses the ring buffer or the attach cookie. The kernel half writes the
//! structures; the agent reads them field by field from bytes at the offsets that `repr(C)`
//! fixes. All integers are in the machine's byte order; times are `CLOCK_MONOTONIC` nanoseconds.
#![no_std]

use core::mem::{offset_of, size_of};

/// Length in bytes of a kernel command name (`TASK_COMM_LEN`, include/linux/sched.h).
pub const COMM_LEN: usize = 16;

/// Most payload bytes that one record carries.
pub const MAX_CHUNK: usize = 16_296;

/// Payload capacities of the record size classes, smallest first.
///
/// A record takes the smallest class that holds its payload, so a short message costs few ring
/// bytes: the ring's 8-byte header, [`RecordHeader`] and the class.
pub const CLASS_CAPACITY: [usize; 5] = [64, 424, 1_960, 8_104, MAX_CHUNK];

/// What a record says. The first byte of every record.
pub mod kind {
    /// A chunk of plaintext follows the header.
    pub const DATA: u8 = 1;
    /// The TLS object ended; `offset` and `call_len` are the final transmit and receive offsets,
    /// `loss` and `function` say why bytes just before them are missing, if any are.
    pub const CLOSE: u8 = 2;
    /// All TLS objects of a process ended: it exited, or executed another program.
    pub const EXIT: u8 = 3;
    /// The socket of a connection became known: [`super::Endpoints`] follow the header.
    pub const SOCKET: u8 = 4;
}

/// The direction of a chunk, seen from the traced process.
pub mod direction {
    /// The process sent the bytes.
    pub const TRANSMIT: u8 = 0;
    /// The process received the bytes.
    pub const RECEIVE: u8 = 1;
}

/// Why bytes are missing. Also the index of the per-CPU drop counters.
pub mod loss {
    /// Nothing is missing.
    pub const NONE: u8 = 0;
    /// The ring buffer was full.
    pub const RING_FULL: u8 = 1;
    /// User memory could not be read.
    pub const FAULT: u8 = 2;
    /// The call carried more than the configured limit.
    pub const LIMIT: u8 = 3;
    /// The table of calls in flight was full, so the call was not seen at all.
    pub const IN_FLIGHT_FULL: u8 = 4;
    /// The table of connections was full.
    pub const CONNECTIONS_FULL: u8 = 5;
    /// Number of reasons, `NONE` included.
    pub const COUNT: usize = 6;
}

/// What the agent has decided about a process. A process without a verdict is traced, so that a
/// new one loses nothing while the agent looks at it.
pub mod verdict {
    /// Its plaintext is copied.
    pub const TRACE: u8 = 1;
    /// Its calls are left alone.
    pub const IGNORE: u8 = 2;
    /// Only the calls of threads whose name is wanted are copied.
    pub const BY_THREAD: u8 = 3;
}

/// Names of the maps, globals and programs that the agent refers to.
pub mod name {
    /// Ring buffer of records.
    pub const RECORDS: &str = "RECORDS";
    /// Per-CPU array of drop counters, indexed by [`super::loss`].
    pub const LOSSES: &str = "LOSSES";
    /// Hash from process id to [`super::verdict`].
    pub const VERDICTS: &str = "VERDICTS";
    /// Hash of the thread names that are wanted, NUL-padded; see [`super::verdict::BY_THREAD`].
    pub const THREADS: &str = "THREADS";
    /// Global: 1 when `VERDICTS` is to be looked at.
    pub const FILTERED: &str = "FILTERED";
    /// Global: most bytes copied from one call.
    pub const MAX_CALL_BYTES: &str = "MAX_CALL_BYTES";
    /// Program at the entry of a data function.
    pub const ENTRY: &str = "call_entry";
    /// Program at the return of a data function.
    pub const RETURN: &str = "call_return";
    /// Program at the entry of a function that ends a TLS object.
    pub const FREE: &str = "object_free";
    /// Program at the exit of every thread.
    pub const TASK_EXIT: &str = "task_exit";
    /// Program at every exec.
    pub const TASK_EXEC: &str = "task_exec";
    /// Program at every send on a socket.
    pub const SOCKET_SEND: &str = "socket_send";
    /// Program at every receive on a socket.
    pub const SOCKET_RECEIVE: &str = "socket_receive";
    /// Global: the [`super::SocketLayout`].
    pub const SOCKET_LAYOUT: &str = "SOCKET_LAYOUT";
}

/// Which function a probe is on: how its arguments and its result are laid out.
///
/// Travels in the attach cookie, so that one program serves all functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Function {
    /// `int SSL_write(SSL *, const void *, int)`: the result is the length.
    Write = 1,
    /// `int SSL_read(SSL *, void *, int)`: the result is the length.
    Read = 2,
    /// `int SSL_write_ex(SSL *, const void *, size_t, size_t *)`: the length is in `*arg4`.
    WriteEx = 3,
    /// `int SSL_read_ex(SSL *, void *, size_t, size_t *)`: the length is in `*arg4`.
    ReadEx = 4,
    /// `void SSL_free(SSL *)`.
    Free = 5,
    /// `int SSL_write_ex2(SSL *, const void *, size_t, uint64_t, size_t *)`: the length is in
    /// `*arg5`.
    WriteEx2 = 6,
}

impl Function {
    /// The function with the given code.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Write),
            2 => Some(Self::Read),
            3 => Some(Self::WriteEx),
            4 => Some(Self::ReadEx),
            5 => Some(Self::Free),
            6 => Some(Self::WriteEx2),
            _ => None,
        }
    }

    /// [`direction::TRANSMIT`] or [`direction::RECEIVE`].
    pub const fn direction(self) -> u8 {
        match self {
            Self::Write | Self::WriteEx | Self::WriteEx2 | Self::Free => direction::TRANSMIT,
            Self::Read | Self::ReadEx => direction::RECEIVE,
        }
    }

    /// The argument, counted from 0, through which the length comes back: a `size_t *`. `None`
    /// when the result is the length.
    pub const fn length_argument(self) -> Option<u8> {
        match self {
            Self::WriteEx | Self::ReadEx => Some(3),
            Self::WriteEx2 => Some(4),
            Self::Write | Self::Read | Self::Free => None,
        }
    }
}

/// The attach cookie of a probe: which function, in which library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookie {
    /// The agent's number of the library, given back in [`RecordHeader::library`].
    pub library: u32,
    /// The function the probe is on.
    pub function: Function,
}

impl Cookie {
    /// The cookie as the kernel keeps it.
    pub const fn to_bits(self) -> u64 {
        (self.library as u64) << 8 | self.function as u64
    }

    /// The inverse of [`Cookie::to_bits`].
    #[expect(clippy::cast_possible_truncation, reason = "takes the fields out of their bits")]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match Function::from_code(bits as u8) {
            Some(function) => Some(Self { library: (bits >> 8) as u32, function }),
            None => None,
        }
    }
}

/// What precedes the payload in every record.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct RecordHeader {
    /// See [`kind`].
    pub kind: u8,
    /// See [`direction`].
    pub direction: u8,
    /// Code of the [`Function`] that moved the bytes.
    pub function: u8,
    /// See [`loss`]: why the bytes between the last record of this direction and `offset` are
    /// missing, if any are.
    pub loss: u8,
    /// Payload bytes in this record.
    pub len: u32,
    /// The process, as the host numbers it.
    pub tgid: u32,
    /// The calling thread, as the host numbers it.
    pub tid: u32,
    /// Address of the TLS object in the process.
    pub object: u64,
    /// When the kernel half first saw this TLS object; with `tgid` and `object` it names the
    /// connection, also when an address is used again.
    pub birth: u64,
    /// Position of the first payload byte in the plaintext stream of this direction.
    pub offset: u64,
    /// Bytes that the whole call moved.
    pub call_len: u64,
    /// When the call was entered.
    pub entered: u64,
    /// When the call returned.
    pub returned: u64,
    /// Number of the library, from the [`Cookie`].
    pub library: u32,
    /// Number of this chunk in its call, from 0.
    pub chunk: u32,
    /// Name of the calling thread, NUL-padded.
    pub comm: [u8; COMM_LEN],
}

/// Offsets in bytes of fields of the kernel's `struct sock` (include/net/sock.h), which begins with
/// its `struct sock_common`. They differ by kernel; the agent reads them from BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SocketLayout {
    /// `skc_family`, u16.
    pub family: u32,
    /// `sk_protocol`, u16.
    pub protocol: u32,
    /// `skc_num`: the local port, u16.
    pub local_port: u32,
    /// `skc_dport`: the peer's port, u16 in network byte order.
    pub peer_port: u32,
    /// `skc_rcv_saddr`: the local IPv4 address.
    pub local_v4: u32,
    /// `skc_daddr`: the peer's IPv4 address.
    pub peer_v4: u32,
    /// `skc_v6_rcv_saddr`: the local IPv6 address.
    pub local_v6: u32,
    /// `skc_v6_daddr`: the peer's IPv6 address.
    pub peer_v6: u32,
}

impl SocketLayout {
    /// The fields in their order, as they lie in memory.
    pub const fn words(self) -> [u32; 8] {
        [
            self.family,
            self.protocol,
            self.local_port,
            self.peer_port,
            self.local_v4,
            self.peer_v4,
            self.local_v6,
            self.peer_v6,
        ]
    }
}

/// `AF_INET` (include/linux/socket.h).
pub const AF_INET: u16 = 2;
/// `AF_INET6` (include/linux/socket.h).
pub const AF_INET6: u16 = 10;

/// The addresses of a TCP socket, behind the header of a [`kind::SOCKET`] record.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Endpoints {
    /// [`AF_INET`] or [`AF_INET6`].
    pub family: u32,
    /// In the machine's byte order.
    pub local_port: u32,
    /// In network byte order.
    pub peer_port: u32,
    /// Zero.
    pub pad: u32,
    /// An IPv4 address takes the first four bytes.
    pub local: [u8; 16],
    /// Likewise.
    pub peer: [u8; 16],
}

const _: () = {
    assert!(size_of::<Endpoints>() == 48);
    assert!(size_of::<RecordHeader>() == 88);
    assert!(offset_of!(RecordHeader, object) == 16);
    assert!(offset_of!(RecordHeader, comm) == 72);
};
