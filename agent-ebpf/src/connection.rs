//! Connections: one per (process, TLS object), with a stream offset for each direction.
//!
//! Offsets advance by the full length of each call, whatever was copied, so that user space sees
//! every hole exactly.

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::map, maps::LruHashMap};
use tlstap_ebpf::loss;

use crate::emit;

const MAX_CONNECTIONS: u32 = 65_536;

#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Key {
    pub(crate) object: u64,
    pub(crate) tgid: u32,
    pad: u32,
}

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Connection {
    pub(crate) birth: u64,
    /// By direction.
    pub(crate) offset: [u64; 2],
    /// By direction: why bytes just before `offset` did not go out.
    pub(crate) loss: [u32; 2],
    /// The library of the last call.
    pub(crate) library: u32,
    /// 1 once the socket is known.
    pub(crate) bound: u32,
}

// Evicting the oldest is safe: a connection seen again gets a new birth, never another's bytes.
#[map]
static CONNECTIONS: LruHashMap<Key, Connection> = LruHashMap::with_max_entries(MAX_CONNECTIONS, 0);

/// Processes that have had a connection, so that the end of the others says nothing.
#[map]
static USERS: LruHashMap<u32, u8> = LruHashMap::with_max_entries(16_384, 0);

/// The connection of the TLS object, made now if it is new.
pub(crate) fn find(tgid: u32, object: u64) -> Option<&'static mut Connection> {
    let key = Key { object, tgid, pad: 0 };
    if let Some(known) = CONNECTIONS.get_ptr_mut(&key) {
        // SAFETY: a map value stays valid while the program runs.
        return Some(unsafe { &mut *known });
    }
    // SAFETY: plain helper without arguments.
    let birth = unsafe { bpf_ktime_get_ns() };
    let new = Connection { birth, offset: [0; 2], loss: [0; 2], library: 0, bound: 0 };
    if CONNECTIONS.insert(&key, &new, 0).is_err() {
        emit::count(loss::CONNECTIONS_FULL);
        return None;
    }
    let _ = USERS.insert(&tgid, &1, 0);
    // SAFETY: as above.
    CONNECTIONS.get_ptr_mut(&key).map(|known| unsafe { &mut *known })
}

/// Ends the connection of the TLS object, if there is one, and says so.
pub(crate) fn close(thread: u64, object: u64) {
    let key = Key { object, tgid: (thread >> 32) as u32, pad: 0 };
    // SAFETY: the entry is copied before it is removed.
    if let Some(connection) = unsafe { CONNECTIONS.get(&key) }.copied() {
        let _ = CONNECTIONS.remove(&key);
        emit::close(thread, object, &connection);
    }
}

/// Says that a process with connections ended.
pub(crate) fn process_ended(thread: u64) {
    if USERS.remove(&((thread >> 32) as u32)).is_ok() {
        emit::exit(thread);
    }
}
