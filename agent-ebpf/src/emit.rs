//! Records into the ring buffer, and counts of what did not get there.

use core::{
    ffi::c_void,
    mem::{MaybeUninit, size_of},
};

use aya_ebpf::{
    Global,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_ktime_get_ns,
        generated::{bpf_get_current_comm, bpf_loop, bpf_probe_read_user},
    },
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use tlstap_ebpf::{
    CLASS_CAPACITY, COMM_LEN, Connection, ConnectionKey, Cookie, Function, MAX_CHUNK, RecordHeader,
    direction, kind, loss,
};

use crate::{call::Call, machine};

/// Most bytes copied from one call; the agent sets it before loading.
#[unsafe(no_mangle)]
static MAX_CALL_BYTES: Global<u64> = Global::new(4 << 20);

/// Binary logarithm of the bytes of ring between one forced wake-up of the reader and the next; the
/// agent sets it before loading.
#[unsafe(no_mangle)]
static WAKE_SHIFT: Global<u32> = Global::new(18);

/// One element: 1 while the reader sleeps until it is woken.
#[map]
static SLEEPING: Array<u32> = Array::with_max_entries(1, 0);

// The agent sizes it before loading.
#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(loss::COUNT as u32, 0);

/// Counts one loss of the given reason on this CPU.
pub(crate) fn count(reason: u8) {
    if let Some(counter) = LOSSES.get_ptr_mut(u32::from(reason)) {
        // SAFETY: the slot is this CPU's; a preempted update can lose a count, nothing else.
        unsafe { *counter += 1 }
    }
}

/// A record of one size class.
#[repr(C)]
struct Record<const CAPACITY: usize> {
    header: RecordHeader,
    payload: [u8; CAPACITY],
}

/// What the chunks of one call have in common, and how far the loop is.
struct Walk<'a> {
    header: RecordHeader,
    connection: &'a mut Connection,
    /// Next byte to copy, and the first byte not to copy, in the process's memory.
    next: u64,
    end: u64,
}

/// Sends the `moved` bytes of a call that returned, in chunks, and advances the stream.
pub(crate) fn call(
    thread: u64,
    call: &Call,
    function: Function,
    moved: u64,
    connection: &mut Connection,
) {
    let mut walk = walk(thread, call, function, moved, connection);
    let copied = at_most(moved);
    walk.next = call.buffer;
    walk.end = call.buffer + copied;
    chunks(&mut walk);
    finish(walk, moved, copied);
}

/// Likewise of a call that took them from an array of vectors.
pub(crate) fn vectors(
    thread: u64,
    call: &Call,
    function: Function,
    moved: u64,
    connection: &mut Connection,
) {
    let mut walk = walk(thread, call, function, moved, connection);
    let wanted = at_most(moved);
    let (array, skipped) = (call.buffer, call.length);
    let mut vectors = Vectors { walk: &mut walk, array, skipped, left: wanted };
    // SAFETY: `vector` takes what is given here, which outlives the call.
    unsafe { bpf_loop(MAX_VECTORS, vector as *mut c_void, (&raw mut vectors).cast(), 0) };
    let left = vectors.left;
    finish(walk, moved, wanted - left);
}

/// Most vectors of a call that are looked at.
const MAX_VECTORS: u32 = 64;

/// The vectors of one call, and how far the loop is.
struct Vectors<'a, 'b> {
    walk: &'a mut Walk<'b>,
    /// A `struct iovec *`.
    array: u64,
    /// Bytes that are not meant, from the next vector on.
    skipped: u64,
    /// Bytes that are.
    left: u64,
}

/// Sends what is meant of the next vector. Returns 1 where the loop ends: when nothing is left, or when
/// a vector cannot be read, behind which nothing is known.
extern "C" fn vector(index: u32, vectors: *mut Vectors) -> i64 {
    // SAFETY: `vectors` passes its own and waits for the loop to end.
    let vectors = unsafe { &mut *vectors };
    if vectors.left == 0 {
        return 1;
    }
    let place = vectors.array + u64::from(index) * 16;
    let Some([base, length]) = machine::user_words(place) else { return 1 };
    let skipped = if vectors.skipped < length { vectors.skipped } else { length };
    vectors.skipped -= skipped;
    let length = length - skipped;
    let length = if length < vectors.left { length } else { vectors.left };
    vectors.left -= length;
    vectors.walk.next = base + skipped;
    vectors.walk.end = base + skipped + length;
    chunks(vectors.walk);
    0
}

/// So many bytes of a call are copied at most.
fn at_most(moved: u64) -> u64 {
    let limit = MAX_CALL_BYTES.load();
    if moved > limit { limit } else { moved }
}

#[inline(always)]
fn walk<'c>(
    thread: u64,
    call: &Call,
    function: Function,
    moved: u64,
    connection: &'c mut Connection,
) -> Walk<'c> {
    let side = usize::from(function.direction()) & 1;
    let start = connection.offset[side];
    // At once: programs of Go may write to one connection from several threads.
    connection.offset[side] = start + at_most(moved);
    let mut walk = Walk {
        header: RecordHeader {
            kind: kind::DATA,
            function: function as u8,
            offset: start,
            call_len: moved,
            entered: call.entered,
            ..header(thread, call.object, connection.birth, function.direction())
        },
        connection,
        next: 0,
        end: 0,
    };
    walk.header.library = Cookie::from_bits(call.cookie).map_or(0, |cookie| cookie.library);
    walk
}

/// Sends the bytes from `next` to `end`.
#[inline(always)]
fn chunks(walk: &mut Walk) {
    let chunks = (walk.end - walk.next).div_ceil(MAX_CHUNK as u64) as u32;
    if chunks == 1 {
        chunk(0, walk);
    } else {
        // SAFETY: `chunk` takes the walk that is given here, which outlives the call.
        unsafe { bpf_loop(chunks, chunk as *mut c_void, (&raw mut *walk).cast(), 0) };
    }
}

/// What was not copied of all that was moved is a gap.
#[inline(always)]
fn finish(walk: Walk, moved: u64, copied: u64) {
    let Walk { header, connection, .. } = walk;
    let side = usize::from(header.direction) & 1;
    connection.library = header.library;
    connection.offset[side] -= at_most(moved) - copied;
    if moved > copied {
        gap(header, moved - copied, loss::LIMIT, connection);
    }
}

/// Sends the next chunk of a call. Returns 0: the loop goes on, also after a loss.
extern "C" fn chunk(_index: u32, walk: *mut Walk) -> i64 {
    // SAFETY: `call` passes its own walk and waits for the loop to end.
    let walk = unsafe { &mut *walk };
    let left = walk.end - walk.next;
    let sent = if left <= CLASS_CAPACITY[0] as u64 {
        send::<{ CLASS_CAPACITY[0] }>(walk, left)
    } else if left <= CLASS_CAPACITY[1] as u64 {
        send::<{ CLASS_CAPACITY[1] }>(walk, left)
    } else if left <= CLASS_CAPACITY[2] as u64 {
        send::<{ CLASS_CAPACITY[2] }>(walk, left)
    } else if left <= CLASS_CAPACITY[3] as u64 {
        send::<{ CLASS_CAPACITY[3] }>(walk, left)
    } else {
        send::<MAX_CHUNK>(walk, if left < MAX_CHUNK as u64 { left } else { MAX_CHUNK as u64 })
    };
    let side = usize::from(walk.header.direction) & 1;
    walk.connection.loss[side] = match sent {
        Ok(()) => u32::from(loss::NONE),
        Err(reason) => {
            count(reason);
            u32::from(reason)
        }
    };
    let len = if left < MAX_CHUNK as u64 { left } else { MAX_CHUNK as u64 };
    walk.next += len;
    walk.header.offset += len;
    walk.header.chunk += 1;
    0
}

/// Sends `len` bytes in a record of one class, or says why not.
#[inline(always)]
fn send<const CAPACITY: usize>(walk: &Walk, len: u64) -> Result<(), u8> {
    let side = usize::from(walk.header.direction) & 1;
    let Some(mut record) = RECORDS.reserve::<Record<CAPACITY>>(0) else {
        return Err(loss::RING_FULL);
    };
    let target = record.as_mut_ptr();
    // SAFETY: the record is `CAPACITY` bytes long behind its header, and every caller has
    // compared `len` with it; the helper checks the user address.
    let copied = unsafe {
        write_header(&raw mut (*target).header, &walk.header);
        (*target).header.len = len as u32;
        (*target).header.loss = walk.connection.loss[side] as u8;
        let payload = (&raw mut (*target).payload).cast();
        bpf_probe_read_user(payload, len as u32, walk.next as *const c_void)
    };
    if copied != 0 {
        record.discard(0);
        return Err(loss::FAULT);
    }
    record.submit(wake(size_of::<Record<CAPACITY>>()));
    Ok(())
}

/// The flags to submit a record of this size with: whether the reader is woken.
///
/// A wake-up for each record costs the traced program more than all the rest. The reader looks into
/// the ring every few milliseconds by itself; it is woken when it sleeps for longer, and each time
/// that what it has not read grows beyond another mark.
#[inline(always)]
fn wake(size: usize) -> u64 {
    if let Some(sleeping) = SLEEPING.get_ptr_mut(0) {
        // SAFETY: the element stays; two that clear it both wake, which does no harm.
        unsafe {
            if *sleeping != 0 {
                *sleeping = 0;
                return u64::from(BPF_RB_FORCE_WAKEUP);
            }
        }
    }
    let shift = WAKE_SHIFT.load();
    let unread = RECORDS.query(u64::from(BPF_RB_AVAIL_DATA));
    let before = unread.saturating_sub(size as u64);
    let crossed = unread >> shift != before >> shift;
    u64::from(if crossed { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}

/// Says that the kernel sent `moved` bytes of a file, and advances the stream.
pub(crate) fn kernel_tls(thread: u64, call: &Call, moved: u64, connection: &mut Connection) {
    let library = Cookie::from_bits(call.cookie).map_or(0, |cookie| cookie.library);
    let header = RecordHeader {
        library,
        entered: call.entered,
        ..header(thread, call.object, connection.birth, direction::TRANSMIT)
    };
    connection.library = library;
    gap(header, moved, loss::KERNEL_TLS, connection);
}

/// Says that the next `missing` bytes are not copied, and advances the stream.
fn gap(header: RecordHeader, missing: u64, reason: u8, connection: &mut Connection) {
    count(reason);
    let side = usize::from(header.direction) & 1;
    let start = connection.offset[side];
    let said = notice(RecordHeader {
        kind: kind::GAP,
        offset: start,
        call_len: missing,
        loss: reason,
        // What is missing before these bytes has a reason of its own.
        function: connection.loss[side] as u8,
        len: 0,
        ..header
    });
    // Told with the next record, and with what is missing before.
    connection.loss[side] = u32::from(if said { loss::NONE } else { loss::RING_FULL });
    connection.offset[side] = start + missing;
}

/// Says that a TLS object ended, with the final offsets of both directions.
pub(crate) fn close(thread: u64, object: u64, connection: &Connection) -> bool {
    notice(RecordHeader {
        kind: kind::CLOSE,
        offset: connection.offset[0],
        loss: connection.loss[0] as u8,
        call_len: connection.offset[1],
        function: connection.loss[1] as u8,
        library: connection.library,
        ..header(thread, object, connection.birth, 0)
    })
}

/// Says that a process ended.
pub(crate) fn exit(thread: u64) -> bool {
    notice(RecordHeader { kind: kind::EXIT, ..header(thread, 0, 0, 0) })
}

/// Says that a process sends nothing more on a TLS object.
pub(crate) fn shutdown(thread: u64, object: u64, connection: &Connection) -> bool {
    of(thread, object, connection, kind::SHUTDOWN, 0)
}

/// Says that what was known of a connection's socket holds no more.
pub(crate) fn unbound(thread: u64, object: u64, connection: &Connection) -> bool {
    of(thread, object, connection, kind::UNBOUND, 0)
}

/// Says that a connection's socket is not used inside the calls on its TLS object.
pub(crate) fn elsewhere(thread: u64, object: u64, connection: &Connection) -> bool {
    of(thread, object, connection, kind::ELSEWHERE, 0)
}

/// Says which file descriptor a TLS object was given.
pub(crate) fn descriptor(thread: u64, object: u64, connection: &Connection, number: u32) -> bool {
    of(thread, object, connection, kind::DESCRIPTOR, number)
}

fn of(thread: u64, object: u64, connection: &Connection, kind: u8, len: u32) -> bool {
    let library = connection.library;
    notice(RecordHeader { kind, len, library, ..header(thread, object, connection.birth, 0) })
}

/// Sends a record with a payload that `fill` writes; it says `false` when it cannot.
#[inline(always)]
pub(crate) fn with<T: 'static>(
    kind: u8,
    thread: u64,
    key: &ConnectionKey,
    birth: u64,
    fill: impl FnOnce(*mut T) -> bool,
) -> bool {
    let Some(mut record) = RECORDS.reserve::<With<T>>(0) else {
        return false;
    };
    let len = size_of::<T>() as u32;
    let target = record.as_mut_ptr();
    // The connection's process, which need not be that of the caller.
    let header = RecordHeader { kind, len, tgid: key.tgid, ..header(thread, key.object, birth, 0) };
    // SAFETY: the record has room for both; its payload is 8 bytes aligned behind the header.
    let filled = unsafe {
        write_header(&raw mut (*target).header, &header);
        fill(&raw mut (*target).payload)
    };
    if filled {
        record.submit(wake(size_of::<With<T>>()));
    } else {
        record.discard(0);
    }
    filled
}

/// A record with a payload of its own kind.
#[repr(C)]
struct With<T> {
    header: RecordHeader,
    payload: T,
}

/// Writes a header in words: the compiler would call a function that copies bytes one by one, which
/// takes longer than all else that is done for a record.
///
/// # Safety
///
/// `target` can be written to, and is 8 bytes aligned.
#[inline(always)]
unsafe fn write_header(target: *mut RecordHeader, header: &RecordHeader) {
    const WORDS: usize = size_of::<RecordHeader>() / size_of::<u64>();
    const { assert!(WORDS * size_of::<u64>() == size_of::<RecordHeader>()) };
    let (target, source) = (target.cast::<u64>(), (&raw const *header).cast::<u64>());
    for word in 0..WORDS {
        // SAFETY: both are so many words long, without padding between the fields; see the caller's.
        unsafe { target.add(word).write_volatile(source.add(word).read_volatile()) };
    }
}

/// The name of the calling thread.
#[inline(always)]
fn comm() -> [u8; COMM_LEN] {
    let mut name = MaybeUninit::<[u8; COMM_LEN]>::uninit();
    // SAFETY: the helper fills all of it, with NUL behind the name, and does not fail for a buffer.
    unsafe {
        bpf_get_current_comm(name.as_mut_ptr().cast(), COMM_LEN as u32);
        name.assume_init()
    }
}

/// Sends a record without payload. `false`: there was no room, which is counted.
fn notice(header: RecordHeader) -> bool {
    let Some(mut record) = RECORDS.reserve::<Record<0>>(0) else {
        count(loss::RING_FULL);
        return false;
    };
    // SAFETY: the record has room for the header.
    unsafe { write_header(&raw mut (*record.as_mut_ptr()).header, &header) };
    record.submit(wake(size_of::<Record<0>>()));
    true
}

#[inline(always)]
fn header(thread: u64, object: u64, birth: u64, direction: u8) -> RecordHeader {
    // SAFETY: plain helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    RecordHeader {
        kind: 0,
        direction,
        function: 0,
        loss: loss::NONE,
        len: 0,
        tgid: (thread >> 32) as u32,
        tid: thread as u32,
        object,
        birth,
        offset: 0,
        call_len: 0,
        entered: now,
        returned: now,
        library: 0,
        chunk: 0,
        comm: comm(),
    }
}
