//! The byte layout that the kernel half and the agent share.
//!
//! Everything here crosses the ring buffer or the attach cookie. The kernel half writes the
//! structures; the agent reads them field by field from bytes at the offsets that `repr(C)`
//! fixes. All integers are in the machine's byte order; times are `CLOCK_MONOTONIC` nanoseconds.
#![no_std]

mod probe;
mod share;

use core::mem::{offset_of, size_of};

pub use probe::{Cookie, Function, Places};
pub use share::{Fill, Share, is_crowded};

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
    /// The TCP socket of a connection became known: [`super::Endpoints`] follow the header.
    pub const SOCKET: u8 = 4;
    /// The Unix socket of a connection became known: [`super::UnixEndpoints`] follow the header.
    pub const UNIX: u8 = 5;
    /// The TLS object was given another transport: what was known of its socket holds no more.
    pub const UNBOUND: u8 = 6;
    /// A call that sent came and went without a socket: the process does the I/O elsewhere.
    pub const ELSEWHERE: u8 = 7;
    /// `call_len` bytes from `offset` on were not copied; `loss` says why.
    pub const GAP: u8 = 8;
    /// The process sends nothing more on the TLS object.
    pub const SHUTDOWN: u8 = 9;
    /// The TLS object was given the file descriptor `len` as its socket.
    pub const DESCRIPTOR: u8 = 10;
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
    /// There was no room for a call in flight, so it was not seen at all.
    pub const IN_FLIGHT_FULL: u8 = 4;
    /// The table of connections was full.
    pub const CONNECTIONS_FULL: u8 = 5;
    /// The kernel sent the bytes, from a file: they never were in the process's memory.
    pub const KERNEL_TLS: u8 = 6;
    /// The agent takes too much: only the beginning of each call is copied.
    pub const REDUCED: u8 = 7;
    /// The agent takes too much: the process is one of those that are left out.
    pub const SAMPLED: u8 = 8;
    /// The agent takes too much: the probes are being taken off.
    pub const DETACHED: u8 = 9;
    /// The process moved more bytes a second than the configured limit.
    pub const RATE_LIMITED: u8 = 10;
    /// Number of reasons, `NONE` included.
    pub const COUNT: usize = 11;
}

/// How much is copied; each leaves out what the one before does, and more.
pub mod level {
    /// Everything.
    pub const FULL: u64 = 0;
    /// The first [`super::HEAD_BYTES`] of each call.
    pub const HEADERS: u64 = 1;
    /// That of some processes only: see [`super::is_sampled`].
    pub const SAMPLED: u64 = 2;
    /// Nothing.
    pub const NONE: u64 = 3;
}

/// Bytes of a call that are copied when only its beginning is: the head of an HTTP/1 message and a
/// HEADERS frame of HTTP/2 mostly fit, and so does a record of the third size class with its header.
pub const HEAD_BYTES: u64 = 1_024;

/// Whether a process is one of those that are still copied when only some are: one in four, always
/// the same ones (docs/limits.md).
pub const fn is_sampled(tgid: u32) -> bool {
    // Fibonacci hashing: numbers that follow each other belong to workers of one program.
    tgid.wrapping_mul(0x9e37_79b9) >> 30 == 0
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
    /// Array with one element: 1 while the reader of the ring sleeps until it is woken.
    pub const SLEEPING: &str = "SLEEPING";
    /// Global: binary logarithm of the ring bytes between two forced wake-ups.
    pub const WAKE_SHIFT: &str = "WAKE_SHIFT";
    /// Global: bytes of the ring.
    pub const RING_BYTES: &str = "RING_BYTES";
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
    /// Global: most bytes copied from one process in a second; 0 when there is no limit.
    pub const MAX_RATE: &str = "MAX_RATE";
    /// Hash from process id to the time up to which its bytes are paid for; the agent sizes it.
    pub const PAID: &str = "PAID";
    /// Array with one element: how much is copied, see [`super::level`].
    pub const LEVEL: &str = "LEVEL";
    /// Array with one element: calls that were entered before this time, `CLOCK_MONOTONIC`
    /// nanoseconds, ended unseen, since the probes were off.
    pub const SINCE: &str = "SINCE";
    /// Array with one element: when a TLS object ended last, or its socket held no more.
    pub const GENERATION: &str = "GENERATION";
    /// Program at the entry of a data function.
    pub const ENTRY: &str = "call_entry";
    /// Program at the return of a data function.
    pub const RETURN: &str = "call_return";
    /// Program at both.
    pub const SESSION: &str = "call_session";
    /// Program near the end of a function that reads.
    pub const END: &str = "call_end";
    /// Program at the entry of a function that ends a TLS object.
    pub const FREE: &str = "object_free";
    /// Program at the entry of a function that gives a TLS object another transport.
    pub const SET_TRANSPORT: &str = "object_set_transport";
    /// Program at the entry of a function that gives a TLS object a file descriptor.
    pub const SET_DESCRIPTOR: &str = "object_set_descriptor";
    /// Program at the entry of a function that ends what a TLS object sends.
    pub const SHUTDOWN: &str = "object_shutdown";
    /// Program at the entry of a function that takes ciphertext from a TLS object.
    pub const BIO_WRITE: &str = "bio_write";
    /// Program at the entry of a data function of Go.
    pub const GO_ENTRY: &str = "go_entry";
    /// Program at every return of such a function.
    pub const GO_RETURN: &str = "go_return";
    /// Program at the entry of a handshake of Go, with which a connection begins.
    pub const GO_HANDSHAKE: &str = "go_handshake";
    /// Program at the entry of the function of Go that ends a connection.
    pub const GO_CLOSE: &str = "go_close";
    /// Program at the entry of a function that is given plaintext which was received.
    pub const TAKE: &str = "plaintext_take";
    /// Program at the exit of every thread.
    pub const TASK_EXIT: &str = "task_exit";
    /// Program at every exec.
    pub const TASK_EXEC: &str = "task_exec";
    /// Program at every send on a socket.
    pub const SOCKET_SEND: &str = "socket_send";
    /// Program at every receive on a socket.
    pub const SOCKET_RECEIVE: &str = "socket_receive";
    /// Program at the entry of the kernel's functions for TCP, where there are no tracepoints.
    pub const TCP_CALL: &str = "tcp_call";
    /// Hash from [`super::ConnectionKey`] to [`super::Connection`].
    pub const CONNECTIONS: &str = "CONNECTIONS";
    /// Hash from [`super::EndedKey`] to [`super::Connection`]: ends that the ring had no room for.
    pub const ENDED: &str = "ENDED";
    /// Array with one element: 1 when ciphertext that is sent outside TLS calls is looked at.
    pub const MEMORY_BIOS: &str = "MEMORY_BIOS";
    /// Global: the [`super::SocketLayout`].
    pub const SOCKET_LAYOUT: &str = "SOCKET_LAYOUT";
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

/// Names a TLS object among all processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ConnectionKey {
    /// Address of the TLS object in the process.
    pub object: u64,
    /// The process, as the host numbers it.
    pub tgid: u32,
    /// Zero.
    pub pad: u32,
}

/// Names the end of a connection, or with no `object` and no `birth` that of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct EndedKey {
    /// The connection's TLS object.
    pub key: ConnectionKey,
    /// Its birth.
    pub birth: u64,
}

/// What the kernel half keeps of a TLS object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Connection {
    /// When it was first seen; see [`RecordHeader::birth`].
    pub birth: u64,
    /// By direction: bytes so far, copied or not.
    pub offset: [u64; 2],
    /// By direction: why bytes just before `offset` did not go out; see [`loss`].
    pub loss: [u32; 2],
    /// The library of the last call.
    pub library: u32,
    /// See [`binding`].
    pub binding: u32,
}

/// What is known of a connection's socket.
pub mod binding {
    /// Nothing yet.
    pub const NONE: u32 = 0;
    /// The agent was told of it.
    pub const KNOWN: u32 = 1;
    /// Nothing, and the agent was told that.
    pub const ELSEWHERE: u32 = 2;
}

/// Offsets in bytes of fields of the kernel's `struct sock` (include/net/sock.h), which begins with
/// its `struct sock_common`. They differ by kernel; the agent reads them from BTF. Those that a
/// kernel may lack are 0 then.
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
    /// `sk_type`, u16.
    pub kind: u32,
    /// `skc_net`: the `struct net *`.
    pub net: u32,
    /// `ns.inum` in a `struct net`, u32.
    pub net_inode: u32,
    /// `addr` in a `struct unix_sock` (include/net/af_unix.h), which begins with its `struct sock`;
    /// 0 where Unix sockets are unknown.
    pub unix_address: u32,
    /// `peer` there: another `struct sock *`.
    pub unix_peer: u32,
}

impl SocketLayout {
    /// The fields in their order, as they lie in memory.
    pub const fn words(self) -> [u32; 13] {
        [
            self.family,
            self.protocol,
            self.local_port,
            self.peer_port,
            self.local_v4,
            self.peer_v4,
            self.local_v6,
            self.peer_v6,
            self.kind,
            self.net,
            self.net_inode,
            self.unix_address,
            self.unix_peer,
        ]
    }
}

/// `AF_UNIX` (include/linux/socket.h).
pub const AF_UNIX: u16 = 1;
/// `AF_INET` (include/linux/socket.h).
pub const AF_INET: u16 = 2;
/// `AF_INET6` (include/linux/socket.h).
pub const AF_INET6: u16 = 10;

/// How the socket of a connection was found.
pub mod method {
    /// It sent or received inside a call on the TLS object.
    pub const NESTED: u32 = 1;
    /// It sent the ciphertext that a call on the TLS object had made.
    pub const CIPHERTEXT: u32 = 2;
}

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
    /// See [`method`].
    pub method: u32,
    /// Inode of the network namespace; 0 where it is not known.
    pub namespace: u32,
    /// Zero.
    pub pad: u32,
    /// An IPv4 address takes the first four bytes.
    pub local: [u8; 16],
    /// Likewise.
    pub peer: [u8; 16],
}

/// Most bytes of a Unix socket's name: `UNIX_PATH_MAX` (include/uapi/linux/un.h), rounded up.
pub const UNIX_NAME_LEN: usize = 112;

/// The names of a Unix socket, behind the header of a [`kind::UNIX`] record.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct UnixEndpoints {
    /// See [`method`].
    pub method: u32,
    /// Inode of the network namespace; 0 where it is not known.
    pub namespace: u32,
    /// Bytes of `local` that count.
    pub local_len: u32,
    /// Bytes of `peer` that count.
    pub peer_len: u32,
    /// A path, maybe ended by NUL, or an abstract name behind a NUL (unix(7)).
    pub local: [u8; UNIX_NAME_LEN],
    /// Likewise.
    pub peer: [u8; UNIX_NAME_LEN],
}

const _: () = {
    assert!(size_of::<Endpoints>() == 56);
    assert!(size_of::<UnixEndpoints>() == 240);
    assert!(size_of::<Connection>() == 40);
    assert!(size_of::<EndedKey>() == 24);
    assert!(size_of::<RecordHeader>() == 88);
    assert!(offset_of!(RecordHeader, object) == 16);
    assert!(offset_of!(RecordHeader, comm) == 72);
};

#[cfg(test)]
mod tests {
    use super::is_sampled;

    #[test]
    fn one_process_in_four_is_sampled() {
        for start in [1, 1_000, 4_194_000] {
            let sampled = (start..start + 400).filter(|tgid| is_sampled(*tgid)).count();
            assert!((90..=110).contains(&sampled), "{sampled} of 400 from {start} on");
            let near = (start..start + 8).filter(|tgid| is_sampled(*tgid)).count();
            assert!((1..=3).contains(&near), "{near} of 8 from {start} on");
        }
    }
}
