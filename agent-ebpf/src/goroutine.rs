//! Calls of Go's `crypto/tls`: kept by goroutine, since a goroutine that has waited goes on on any
//! thread. No uretprobe is on them (the agent's `resolve/sites/go`): every return is probed itself.
//!
//! A call is known by how far its frame lies from the end of the goroutine's stack. That stays when
//! the stack is moved, so a call whose entry is hit again after that is the same call, and one that
//! was left without a return (a panic, `runtime.Goexit`) gives way to what comes at its place.
//!
//! A `*Conn` is never freed by a call: its connection ends with `Close`, with the handshake of another
//! `Conn` at its address, or with the process.

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_F_NO_PREALLOC,
    helpers::{
        bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_user,
        generated::bpf_for_each_map_elem,
    },
    macros::{map, uprobe},
    maps::{Array, HashMap, LruHashMap},
    programs::ProbeContext,
};
use tlstap_ebpf::{Connection, ConnectionKey, Cookie, Function, binding, direction};

use crate::{call::Call, connection, emit, limits, machine, socket, task, thread};

/// Names a goroutine among all processes.
#[derive(Clone, Copy)]
#[repr(C)]
struct GoroutineKey {
    /// Address of its `g` in the process.
    goroutine: u64,
    tgid: u32,
    pad: u32,
}

/// The calls that a goroutine is in.
#[derive(Clone, Copy)]
#[repr(C)]
struct Goroutine {
    outer: Held,
    /// The call inside that one, on another `Conn`: TLS inside TLS.
    inner: Held,
}

/// A call in flight; its `stack` is its distance from the end of the goroutine's stack, 0 where
/// there is none.
#[derive(Clone, Copy)]
#[repr(C)]
struct Held {
    call: Call,
    /// 1: the buffer is on the goroutine's stack too, and `buffer` is its distance from the end.
    moves: u64,
}

const NONE: Held = Held {
    call: Call { stack: 0, object: 0, buffer: 0, length: 0, entered: 0, cookie: 0 },
    moves: 0,
};

/// What a `g` begins with: the bounds of its stack (`struct G`, src/runtime/cgo/libcgo.h).
#[derive(Clone, Copy)]
#[repr(C)]
struct Stack {
    low: u64,
    high: u64,
}

/// Every connection that waits for something to read has a call in flight.
#[map]
static GOROUTINES: HashMap<GoroutineKey, Goroutine> =
    HashMap::with_max_entries(131_072, BPF_F_NO_PREALLOC);

/// Processes that have made such calls.
#[map]
static GO_PROCESSES: LruHashMap<u32, u8> = LruHashMap::with_max_entries(16_384, 0);

/// One element: 1 when there has been such a process.
#[map]
static ANY_GO: Array<u32> = Array::with_max_entries(1, 0);

/// When a `Conn` was closed, until another one at its address shakes hands.
#[map]
static CLOSED: LruHashMap<ConnectionKey, u64> = LruHashMap::with_max_entries(16_384, 0);

/// `Read` and `Write`.
#[uprobe]
pub(crate) fn go_entry(ctx: ProbeContext) -> u32 {
    let _ = enter(&ctx);
    0
}

/// The handshake of a `Conn`: what is known of one at this address is another's.
#[uprobe]
pub(crate) fn go_handshake(ctx: ProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    let object = machine::go(ctx.as_ptr()).receiver;
    let key = ConnectionKey { object, tgid: (thread >> 32) as u32, pad: 0 };
    // One of which only a call was missed has not begun yet.
    let begun = |known: &mut Connection| known.offset != [0, 0] || known.binding == binding::KNOWN;
    if connection::known(&key).is_some_and(begun) {
        let _ = connection::end(thread, key.object);
    }
    let _ = CLOSED.remove(&key);
    let _ = enter(&ctx);
    0
}

fn enter(ctx: &ProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let tgid = (thread >> 32) as u32;
    if task::ignored(tgid) {
        return None;
    }
    let cookie = machine::cookie(ctx.as_ptr());
    let function = Cookie::from_bits(cookie)?.function;
    let registers = machine::go(ctx.as_ptr());
    note(tgid);
    let key = GoroutineKey { goroutine: registers.goroutine, tgid, pad: 0 };
    let kept = stack(registers.goroutine).is_some_and(|stack| {
        let moves = stack.low <= registers.pointer && registers.pointer < stack.high;
        let call = Call {
            stack: stack.high - machine::stack_pointer(ctx.as_ptr()),
            object: registers.receiver,
            buffer: if moves { stack.high - registers.pointer } else { registers.pointer },
            length: registers.length,
            // SAFETY: plain helper without arguments.
            entered: unsafe { bpf_ktime_get_ns() },
            cookie,
        };
        keep(&key, &Held { call, moves: u64::from(moves) }, function)
    });
    if !kept {
        connection::miss(tgid, registers.receiver, function);
    }
    Some(())
}

/// Keeps a call. `false`: there is no room for it.
fn keep(key: &GoroutineKey, held: &Held, function: Function) -> bool {
    let Some(known) = GOROUTINES.get_ptr_mut(key) else {
        return GOROUTINES.insert(key, &Goroutine { outer: *held, inner: NONE }, 0).is_ok();
    };
    // SAFETY: a map value stays valid while the program runs; nothing else runs this goroutine.
    let Goroutine { outer, inner } = unsafe { &mut *known };
    let within = |other: &Held| {
        let Call { stack, entered, .. } = other.call;
        stack != 0 && stack < held.call.stack && !limits::is_past(entered)
    };
    let same = |other: &Held| other.call.object == held.call.object;
    // Followed for the socket alone, which the call that it is a part of tells too.
    let handshake = function == Function::GoHandshake;
    if handshake && (within(outer) && same(outer) || within(inner) && same(inner)) {
        return true;
    }
    // No other function of a `Conn` calls one of the same.
    if !within(outer) || same(outer) {
        *outer = *held;
        inner.call.stack = 0;
        return true;
    }
    if within(inner) && !same(inner) {
        return handshake;
    }
    *inner = *held;
    true
}

#[uprobe]
pub(crate) fn go_return(ctx: ProbeContext) -> u32 {
    let _ = leave(&ctx);
    0
}

fn leave(ctx: &ProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let tgid = (thread >> 32) as u32;
    let registers = machine::go(ctx.as_ptr());
    let key = GoroutineKey { goroutine: registers.goroutine, tgid, pad: 0 };
    let known = GOROUTINES.get_ptr_mut(&key)?;
    let stack = stack(registers.goroutine)?;
    let depth = stack.high - machine::stack_pointer(ctx.as_ptr());
    // SAFETY: a map value stays valid while the program runs; nothing else runs this goroutine.
    let Held { mut call, moves } = end(unsafe { &mut *known }, &key, depth)?;
    let function = Cookie::from_bits(call.cookie)?.function;
    let moved = registers.receiver;
    if !function.carries_payload() || moved as i64 <= 0 || limits::is_past(call.entered) {
        return None;
    }
    if moves != 0 {
        call.buffer = stack.high - call.buffer;
    }
    let moved = if moved < call.length { moved } else { call.length };
    tell(thread, &call, function, moved)
}

/// Ends the call at this distance from the end of the stack.
fn end(known: &mut Goroutine, key: &GoroutineKey, depth: u64) -> Option<Held> {
    let Goroutine { outer, inner } = *known;
    if inner.call.stack == depth {
        known.inner.call.stack = 0;
        return Some(inner);
    }
    if outer.call.stack != depth {
        return None;
    }
    let _ = GOROUTINES.remove(key);
    Some(outer)
}

fn tell(thread: u64, call: &Call, function: Function, moved: u64) -> Option<()> {
    let tgid = (thread >> 32) as u32;
    let key = ConnectionKey { object: call.object, tgid, pad: 0 };
    let began = connection::began(tgid, thread::known());
    let late = connection::known(&key).is_none() && closed(&key).is_some_and(|time| time >= began);
    let connection: &mut Connection = connection::find(tgid, call.object, began)?;
    if function.direction() == direction::TRANSMIT {
        connection::sent(thread, call.object, connection);
    }
    emit::call(limits::allowance(tgid, moved), call, function, moved, connection);
    // What was read before, or had come already: nothing else ends this.
    if late {
        let _ = connection::end(thread, key.object);
    }
    Some(())
}

/// `Close`: ends the connection of the `Conn`, if there is one.
#[uprobe]
pub(crate) fn go_close(ctx: ProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    let tgid = (thread >> 32) as u32;
    let key = ConnectionKey { object: machine::go(ctx.as_ptr()).receiver, tgid, pad: 0 };
    let _ = connection::end(thread, key.object);
    if !task::ignored(tgid) {
        // SAFETY: plain helper without arguments.
        let now = unsafe { bpf_ktime_get_ns() };
        let _ = CLOSED.insert(&key, &now, 0);
    }
    0
}

fn closed(key: &ConnectionKey) -> Option<u64> {
    // SAFETY: the value is copied at once.
    let time = unsafe { CLOSED.get(key) }.copied();
    // The next handshake at its address may have been missed.
    time.filter(|time| !limits::is_past(*time))
}

/// A socket is used. Whether that is inside a call on a `Conn`.
pub(crate) fn used(thread: u64, sock: u64) -> bool {
    calls(thread).is_some_and(|Goroutine { outer, inner }| {
        for call in [&outer.call, &inner.call] {
            if call.stack != 0 && !limits::is_past(call.entered) {
                let _ = nested(thread, call, sock);
            }
        }
        true
    })
}

fn nested(thread: u64, call: &Call, sock: u64) -> Option<()> {
    let tgid = (thread >> 32) as u32;
    let key = ConnectionKey { object: call.object, tgid, pad: 0 };
    // The call of one that has been closed meanwhile begins nothing.
    if connection::known(&key).is_none() && closed(&key).is_some_and(|time| time >= call.entered) {
        return None;
    }
    socket::nested(thread, call.object, connection::began(tgid, thread::known()), sock)
}

/// The calls that the goroutine is in that this thread runs. All socket traffic of the node comes here.
fn calls(thread: u64) -> Option<&'static Goroutine> {
    if *ANY_GO.get(0)? == 0 {
        return None;
    }
    let tgid = (thread >> 32) as u32;
    // SAFETY: the value is not read.
    unsafe { GO_PROCESSES.get(&tgid) }?;
    let key = GoroutineKey { goroutine: machine::goroutine_in_kernel()?, tgid, pad: 0 };
    // SAFETY: a map value stays valid while the program runs; nothing else runs this goroutine.
    GOROUTINES.get_ptr(&key).map(|known| unsafe { &*known })
}

fn note(tgid: u32) {
    if let Some(any) = ANY_GO.get_ptr_mut(0) {
        // SAFETY: the element stays; all write the same.
        unsafe { any.write_volatile(1) };
    }
    // SAFETY: the value is not read.
    if unsafe { GO_PROCESSES.get(&tgid) }.is_none() {
        let _ = GO_PROCESSES.insert(&tgid, &1, 0);
    }
}

fn stack(goroutine: u64) -> Option<Stack> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(goroutine as *const Stack) }.ok()
}

/// A process ended, or is another program now: the calls that it was in never return.
pub(crate) fn process_ended(mut tgid: u32) {
    if GO_PROCESSES.remove(&tgid).is_err() {
        return;
    }
    let map = (&raw const GOROUTINES).cast_mut().cast::<c_void>();
    // SAFETY: `forget` takes what is given here, which outlives the call.
    unsafe {
        bpf_for_each_map_elem(map, forget as *mut c_void, (&raw mut tgid).cast(), 0);
    }
}

/// Takes the calls of a process away. Returns 0: the walk goes on.
extern "C" fn forget(
    _map: *mut c_void,
    key: *mut GoroutineKey,
    _calls: *mut Goroutine,
    tgid: *mut u32,
) -> i64 {
    // SAFETY: the kernel hands out elements of the map, and what `process_ended` gave it.
    unsafe {
        if (*key).tgid == *tgid {
            let _ = GOROUTINES.remove(&*key);
        }
    }
    0
}
