//! Connections: one per (process, TLS object), with a stream offset for each direction.
//!
//! Offsets advance by the full length of each call, whatever was copied, so that user space sees
//! every hole exactly.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::{map, uprobe},
    maps::{Array, HashMap, LruHashMap},
    programs::ProbeContext,
};
use tlstap_ebpf::{Connection, ConnectionKey, EndedKey, Function, binding, loss};

use crate::{
    emit, machine, task,
    thread::{self, Thread},
};

// Evicting the oldest is safe: a connection seen again gets a new birth, never another's bytes.
#[map]
static CONNECTIONS: LruHashMap<ConnectionKey, Connection> = LruHashMap::with_max_entries(65_536, 0);

/// Ends of connections and processes that the ring had no room for; the agent looks here.
#[map]
static ENDED: HashMap<EndedKey, Connection> = HashMap::with_max_entries(16_384, 0);

/// Processes that have had a connection, and since when: the end of the others says nothing, and
/// what is older was left by a process that had the same number.
#[map]
static USERS: LruHashMap<u32, u64> = LruHashMap::with_max_entries(16_384, 0);

/// One element: when a TLS object ended last, or its socket held no more. What threads remember of
/// objects from before does not hold any more either.
#[map]
static GENERATION: Array<u64> = Array::with_max_entries(1, 0);

/// What threads remember of TLS objects was so in this generation.
#[inline(always)]
pub(crate) fn generation() -> u64 {
    GENERATION.get(0).copied().unwrap_or_default()
}

fn next_generation() {
    if let Some(generation) = GENERATION.get_ptr_mut(0) {
        // A time instead of a number that is counted up: of two at once neither can undo the other's.
        // SAFETY: the element stays, and is aligned; the helper has no arguments.
        unsafe { generation.write_volatile(bpf_ktime_get_ns()) };
    }
}

/// The connection of the TLS object, made now if it is new. `began` is what [`began`] says.
pub(crate) fn find(tgid: u32, object: u64, began: u64) -> Option<&'static mut Connection> {
    let key = ConnectionKey { object, tgid, pad: 0 };
    if let Some(found) = known(&key) {
        if found.birth >= began {
            return Some(found);
        }
        let left = *found;
        remove(bpf_get_current_pid_tgid(), &key, &left);
    }
    // SAFETY: plain helper without arguments.
    let birth = unsafe { bpf_ktime_get_ns() };
    let new = Connection { birth, ..Connection::default() };
    if CONNECTIONS.insert(&key, &new, 0).is_err() {
        emit::count(loss::CONNECTIONS_FULL);
        return None;
    }
    // A thread that remembers it does not keep its process from being evicted there.
    let _ = USERS.insert(&tgid, &began, 0);
    known(&key)
}

/// Since when the process of this thread has had connections: since now if it had none.
#[inline(always)]
pub(crate) fn began(tgid: u32, thread: Option<&mut Thread>) -> u64 {
    let Some(thread) = thread else { return looked_up(tgid) };
    if thread.began == 0 {
        thread.began = looked_up(tgid);
    }
    thread.began
}

fn looked_up(tgid: u32) -> u64 {
    // SAFETY: the value is copied at once.
    if let Some(began) = unsafe { USERS.get(&tgid) }.copied() {
        return began;
    }
    // SAFETY: plain helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let _ = USERS.insert(&tgid, &now, 0);
    now
}

/// Says how far a connection came that has been removed.
fn tell_end(thread: u64, key: &ConnectionKey, connection: &Connection) {
    if !emit::close(thread, key.object, connection) {
        keep_end(&EndedKey { key: *key, birth: connection.birth }, connection);
    }
}

/// The connection of the TLS object, if there is one.
pub(crate) fn known(key: &ConnectionKey) -> Option<&'static mut Connection> {
    // SAFETY: a map value stays valid while the program runs.
    CONNECTIONS.get_ptr_mut(key).map(|known| unsafe { &mut *known })
}

/// Whether the agent knows the socket of the TLS object.
pub(crate) fn is_bound(tgid: u32, object: u64) -> bool {
    known(&ConnectionKey { object, tgid, pad: 0 })
        .is_some_and(|connection| connection.binding == binding::KNOWN)
}

/// A call on the TLS object is not followed: what it moves is lost, and nobody knows how much.
pub(crate) fn miss(tgid: u32, object: u64, function: Function) {
    emit::count(loss::IN_FLIGHT_FULL);
    if let Some(connection) = find(tgid, object, began(tgid, thread::known())) {
        let side = usize::from(function.direction()) & 1;
        connection.loss[side] = u32::from(loss::IN_FLIGHT_FULL);
    }
}

/// A call that sent returned. Tells the agent once when no socket sent inside it.
pub(crate) fn sent(thread: u64, object: u64, connection: &mut Connection) {
    if connection.binding == binding::NONE && emit::elsewhere(thread, object, connection) {
        connection.binding = binding::ELSEWHERE;
    }
}

/// `SSL_free` and `SSL_clear`: ends the connection of the TLS object, if there is one.
#[uprobe]
pub(crate) fn object_free(ctx: ProbeContext) -> u32 {
    let _ = free(&ctx);
    0
}

fn free(ctx: &ProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let object = ctx.arg(0)?;
    // OpenSSL clears an object once more when its handshake begins.
    if machine::function(ctx.as_ptr()) == Some(Function::Clear) {
        let key = ConnectionKey { object, tgid: (thread >> 32) as u32, pad: 0 };
        known(&key).filter(|connection| connection.offset != [0, 0])?;
    }
    end(thread, object)
}

/// Ends the connection of the TLS object, if there is one.
pub(crate) fn end(thread: u64, object: u64) -> Option<()> {
    let key = ConnectionKey { object, tgid: (thread >> 32) as u32, pad: 0 };
    // SAFETY: the entry is copied before it is removed.
    let connection = unsafe { CONNECTIONS.get(&key) }.copied()?;
    remove(thread, &key, &connection);
    Some(())
}

fn remove(thread: u64, key: &ConnectionKey, connection: &Connection) {
    let _ = CONNECTIONS.remove(key);
    next_generation();
    tell_end(thread, key, connection);
}

/// `SSL_set_bio` and its like: the socket that was known is no longer the connection's.
#[uprobe]
pub(crate) fn object_set_transport(ctx: ProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    if let Some(object) = ctx.arg(0) {
        unbind(thread, object);
    }
    0
}

fn unbind(thread: u64, object: u64) -> Option<()> {
    let connection = known(&ConnectionKey { object, tgid: (thread >> 32) as u32, pad: 0 })?;
    if connection.binding == binding::KNOWN && emit::unbound(thread, object, connection) {
        connection.binding = binding::NONE;
        next_generation();
    }
    Some(())
}

/// `SSL_set_fd` and its like, where nothing better tells the socket.
#[uprobe]
pub(crate) fn object_set_descriptor(ctx: ProbeContext) -> u32 {
    let _ = set_descriptor(&ctx);
    0
}

fn set_descriptor(ctx: &ProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let tgid = (thread >> 32) as u32;
    if task::ignored(tgid) {
        return None;
    }
    let object = ctx.arg(0)?;
    let descriptor: u64 = ctx.arg(1)?;
    let connection = find(tgid, object, began(tgid, thread::known()))?;
    if emit::descriptor(thread, object, connection, descriptor as u32) {
        connection.binding = binding::KNOWN;
    }
    Some(())
}

/// `SSL_shutdown`: the process sends nothing more.
#[uprobe]
pub(crate) fn object_shutdown(ctx: ProbeContext) -> u32 {
    let _ = shutdown(&ctx);
    0
}

fn shutdown(ctx: &ProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let object = ctx.arg(0)?;
    let connection = known(&ConnectionKey { object, tgid: (thread >> 32) as u32, pad: 0 })?;
    emit::shutdown(thread, object, connection);
    Some(())
}

/// Says that a process with connections ended.
pub(crate) fn process_ended(thread: u64) {
    let tgid = (thread >> 32) as u32;
    if USERS.remove(&tgid).is_ok() && !emit::exit(thread) {
        let key = ConnectionKey { object: 0, tgid, pad: 0 };
        keep_end(&EndedKey { key, birth: 0 }, &Connection::default());
    }
}

fn keep_end(key: &EndedKey, connection: &Connection) {
    if ENDED.insert(key, connection, 0).is_err() {
        emit::count(loss::CONNECTIONS_FULL);
    }
}
