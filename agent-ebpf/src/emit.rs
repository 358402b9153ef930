//! Records into the ring buffer, and counts of what did not get there.

mod header;

use core::{
    ffi::c_void,
    hint::black_box,
    mem::{MaybeUninit, size_of},
};

use aya_ebpf::{
    Global,
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_get_current_pid_tgid,
        generated::{bpf_loop, bpf_probe_read_user},
    },
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use tlstap_ebpf::{
    CLASS_CAPACITY, Connection, ConnectionKey, Cookie, Function, MAX_CHUNK, RecordHeader,
    direction, kind, loss,
};

use self::header::{Told, copy_header, write_header};
use crate::{call::Call, limits::Allowance, machine};

/// Binary logarithm of the bytes of ring between one forced wake-up of the reader and the next; the
/// agent sets it before loading.
#[unsafe(no_mangle)]
static WAKE_SHIFT: Global<u32> = Global::new(18);

/// One element: 1 while the reader sleeps until it is woken.
#[map]
static SLEEPING: Array<u32> = Array::with_max_entries(1, 0);

// The agent sizes it before loading.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);

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
    /// Of the next record; written where it is made.
    header: MaybeUninit<RecordHeader>,
    connection: &'a mut Connection,
    /// Next byte to copy, and the first byte not to copy, in the process's memory.
    next: u64,
    end: u64,
}

/// Sends what is allowed of the `moved` bytes of a call that returned, in chunks, and advances the stream.
///
/// Not a part of its callers, which have left what they needed on the stack by then: before Linux 6.13 all
/// that call each other share 512 bytes of it (`check_max_stack_depth`, kernel/bpf/verifier.c). For the same
/// reason the callers ask what is allowed.
#[inline(never)]
pub(crate) fn call(
    allowed: Allowance,
    call: &Call,
    function: Function,
    moved: u64,
    connection: &mut Connection,
) {
    if allowed.is_nothing() {
        pass_over(call, function, moved, allowed, connection);
        return;
    }
    let mut walk = Walk::new(connection, call.buffer, allowed.bytes());
    walk.begin(bpf_get_current_pid_tgid(), call, function, moved, allowed);
    chunks(&mut walk);
    finish(&mut walk, moved, allowed.bytes(), 0);
}

/// Likewise of a call that took them from an array of vectors.
#[inline(never)]
pub(crate) fn vectors(
    allowed: Allowance,
    call: &Call,
    function: Function,
    moved: u64,
    connection: &mut Connection,
) {
    if allowed.is_nothing() {
        pass_over(call, function, moved, allowed, connection);
        return;
    }
    let (array, skipped) = (call.buffer, call.length);
    let mut walk = Walk::new(connection, array, 0);
    walk.begin(bpf_get_current_pid_tgid(), call, function, moved, allowed);
    let mut vectors = Vectors { walk: &mut walk, array, skipped, left: allowed.bytes() };
    // SAFETY: `vector` takes what is given here, which outlives the call.
    unsafe { bpf_loop(MAX_VECTORS, vector as *mut c_void, (&raw mut vectors).cast(), 0) };
    let left = vectors.left;
    finish(&mut walk, moved, allowed.bytes() - left, left);
}

/// Advances the stream by a call of which nothing is copied. No record says so: the next one of the
/// connection does, with what is missing before it.
#[inline(never)]
fn pass_over(
    call: &Call,
    function: Function,
    moved: u64,
    allowed: Allowance,
    connection: &mut Connection,
) {
    let side = usize::from(function.direction()) & 1;
    count(allowed.reason());
    connection.library = Cookie::from_bits(call.cookie).map_or(0, |cookie| cookie.library);
    connection.loss[side] = u32::from(allowed.reason());
    connection.offset[side] += moved;
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

impl<'c> Walk<'c> {
    /// Through so many bytes from an address on, with a header that is still to be written.
    #[inline(always)]
    fn new(connection: &'c mut Connection, next: u64, length: u64) -> Self {
        Self { header: MaybeUninit::uninit(), connection, next, end: next + length }
    }

    /// Writes the header of the first record, and advances the stream. The reason why not all is
    /// copied waits in the header.
    #[inline(always)]
    fn begin(
        &mut self,
        thread: u64,
        call: &Call,
        function: Function,
        moved: u64,
        allowed: Allowance,
    ) {
        let side = usize::from(function.direction()) & 1;
        let start = self.connection.offset[side];
        // At once: programs of Go may write to one connection from several threads.
        self.connection.offset[side] = start + allowed.bytes();
        let told = Told {
            kind: kind::DATA,
            direction: function.direction(),
            function: function as u8,
            loss: allowed.reason(),
            offset: start,
            call_len: moved,
            entered: call.entered,
            library: Cookie::from_bits(call.cookie).map_or(0, |cookie| cookie.library),
            ..Told::default()
        };
        let birth = self.connection.birth;
        // SAFETY: the header is there to be written.
        unsafe { write_header(self.header.as_mut_ptr(), thread, call.object, birth, told) };
    }
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

/// What was not copied of all that was moved is a gap. `left` bytes were allowed, but not found.
#[inline(always)]
fn finish(walk: &mut Walk, moved: u64, copied: u64, left: u64) {
    // SAFETY: `begin` wrote it.
    let header = unsafe { walk.header.assume_init_ref() };
    let side = usize::from(header.direction) & 1;
    let connection = &mut *walk.connection;
    connection.library = header.library;
    connection.offset[side] -= left;
    if moved > copied {
        let reason = if left == 0 { header.loss } else { loss::LIMIT };
        gap(side, moved - copied, reason, connection, |target| {
            // SAFETY: the target is a record's header.
            unsafe { copy_header(target, header) };
        });
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
    // SAFETY: `begin` wrote it.
    let header = unsafe { walk.header.assume_init_mut() };
    let side = usize::from(header.direction) & 1;
    walk.connection.loss[side] = match sent {
        Ok(()) => u32::from(loss::NONE),
        Err(reason) => {
            count(reason);
            u32::from(reason)
        }
    };
    let len = if left < MAX_CHUNK as u64 { left } else { MAX_CHUNK as u64 };
    walk.next += len;
    header.offset += len;
    header.chunk += 1;
    0
}

/// Sends `len` bytes in a record of one class, or says why not.
#[inline(always)]
fn send<const CAPACITY: usize>(walk: &Walk, len: u64) -> Result<(), u8> {
    // SAFETY: `begin` wrote it.
    let header = unsafe { walk.header.assume_init_ref() };
    let side = usize::from(header.direction) & 1;
    let Some(mut record) = RECORDS.reserve::<Record<CAPACITY>>(0) else {
        return Err(loss::RING_FULL);
    };
    let target = record.as_mut_ptr();
    // SAFETY: the record is `CAPACITY` bytes long behind its header, and `len` is compared with it;
    // the helper checks the user address.
    let copied = unsafe {
        copy_header(&raw mut (*target).header, header);
        (*target).header.len = len as u32;
        (*target).header.loss = walk.connection.loss[side] as u8;
        let payload = (&raw mut (*target).payload).cast();
        // Every caller has compared it already, which the compiler knows. The verifier of Linux 6.1
        // does not: it forgets what is known of a number that lies on the stack meanwhile.
        let len = black_box(len);
        if len <= CAPACITY as u64 {
            bpf_probe_read_user(payload, len as u32, walk.next as *const c_void)
        } else {
            -1
        }
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
    let told =
        Told { direction: direction::TRANSMIT, entered: call.entered, library, ..Told::default() };
    let birth = connection.birth;
    let side = usize::from(direction::TRANSMIT);
    connection.library = library;
    gap(side, moved, loss::KERNEL_TLS, connection, |target| {
        // SAFETY: the target is a record's header.
        unsafe { write_header(target, thread, call.object, birth, told) };
    });
}

/// Says that the next `missing` bytes are not copied, and advances the stream. `fill` writes what the
/// header says otherwise.
#[inline(always)]
fn gap(
    side: usize,
    missing: u64,
    reason: u8,
    connection: &mut Connection,
    fill: impl FnOnce(*mut RecordHeader),
) {
    count(reason);
    let start = connection.offset[side];
    let before = connection.loss[side] as u8;
    let said = notice(|target| {
        fill(target);
        // SAFETY: the target is a record's header.
        let header = unsafe { &mut *target };
        header.kind = kind::GAP;
        header.offset = start;
        header.call_len = missing;
        header.loss = reason;
        // What is missing before these bytes has a reason of its own.
        header.function = before;
        header.len = 0;
    });
    // Told with the next record, and with what is missing before.
    connection.loss[side] = u32::from(if said { loss::NONE } else { loss::RING_FULL });
    connection.offset[side] = start + missing;
}

/// Says that a TLS object ended, with the final offsets of both directions.
pub(crate) fn close(thread: u64, object: u64, connection: &Connection) -> bool {
    let told = Told {
        kind: kind::CLOSE,
        offset: connection.offset[0],
        loss: connection.loss[0] as u8,
        call_len: connection.offset[1],
        function: connection.loss[1] as u8,
        library: connection.library,
        ..Told::default()
    };
    // SAFETY: the target is a record's header.
    notice(|target| unsafe { write_header(target, thread, object, connection.birth, told) })
}

/// Says that a process ended.
pub(crate) fn exit(thread: u64) -> bool {
    let told = Told { kind: kind::EXIT, ..Told::default() };
    // SAFETY: the target is a record's header.
    notice(|target| unsafe { write_header(target, thread, 0, 0, told) })
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

#[inline(never)]
fn of(thread: u64, object: u64, connection: &Connection, kind: u8, len: u32) -> bool {
    let told = Told { kind, len, library: connection.library, ..Told::default() };
    // SAFETY: the target is a record's header.
    notice(|target| unsafe { write_header(target, thread, object, connection.birth, told) })
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
    let told = Told { kind, len: size_of::<T>() as u32, ..Told::default() };
    let target = record.as_mut_ptr();
    // SAFETY: the record has room for both; its payload is 8 bytes aligned behind the header.
    let filled = unsafe {
        write_header(&raw mut (*target).header, thread, key.object, birth, told);
        // The connection's process, which need not be that of the caller.
        (*target).header.tgid = key.tgid;
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

/// Sends a record without payload, whose header `fill` writes. `false`: there was no room, which is
/// counted.
#[inline(always)]
fn notice(fill: impl FnOnce(*mut RecordHeader)) -> bool {
    let Some(mut record) = RECORDS.reserve::<Record<0>>(0) else {
        count(loss::RING_FULL);
        return false;
    };
    // SAFETY: the record has room for the header.
    fill(unsafe { &raw mut (*record.as_mut_ptr()).header });
    record.submit(wake(size_of::<Record<0>>()));
    true
}
