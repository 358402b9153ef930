//! Calls in flight: what the arguments were at entry, kept until the call returns.
//!
//! At most one call per thread is in flight. A call nested in it (its stack pointer is lower) is
//! ignored, so that no byte is counted twice; one at the same or a higher stack position means
//! that the recorded call was left without a return (`longjmp`, a fiber), or that a second probe
//! fired on the same call, and takes its place.

use aya_ebpf::{
    EbpfContext as _,
    helpers::{
        bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_user,
        generated::bpf_get_attach_cookie,
    },
    macros::{map, uprobe, uretprobe},
    maps::HashMap,
    programs::{ProbeContext, RetProbeContext},
};
use aya_log_ebpf::debug;
use tlstap_ebpf::{Cookie, Function, loss};

use crate::{connection, emit, task};

/// Threads that can be inside a traced call at one time.
const MAX_IN_FLIGHT: u32 = 16_384;

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Call {
    /// Stack pointer at entry; it points at the return address.
    pub(crate) stack: u64,
    pub(crate) object: u64,
    pub(crate) buffer: u64,
    /// Where the function stores the length, or 0.
    pub(crate) length: u64,
    pub(crate) entered: u64,
    pub(crate) cookie: u64,
}

#[map]
static IN_FLIGHT: HashMap<u64, Call> = HashMap::with_max_entries(MAX_IN_FLIGHT, 0);

#[uprobe]
pub(crate) fn call_entry(ctx: ProbeContext) -> u32 {
    let _ = enter(&ctx);
    0
}

fn enter(ctx: &ProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    if task::ignored((thread >> 32) as u32) {
        return None;
    }
    // SAFETY: the context is the one this program was called with.
    let bits = unsafe { bpf_get_attach_cookie(ctx.as_ptr()) };
    let function = Cookie::from_bits(bits)?.function;
    let stack = stack_pointer(ctx.as_ptr());
    // SAFETY: the entry is copied out at once; only this thread writes it.
    if let Some(outer) = unsafe { IN_FLIGHT.get(&thread) }
        && outer.stack > stack
    {
        return None;
    }
    // Both are read before one is chosen: the verifier allows no access to the context at an
    // offset that is chosen at run time, which the compiler would otherwise make of it.
    let (fourth, fifth) = core::hint::black_box((ctx.arg(3)?, ctx.arg(4)?));
    let call = Call {
        stack,
        object: ctx.arg(0)?,
        buffer: ctx.arg(1)?,
        length: match function.length_argument() {
            Some(3) => fourth,
            Some(_) => fifth,
            None => 0,
        },
        // SAFETY: plain helper without arguments.
        entered: unsafe { bpf_ktime_get_ns() },
        cookie: bits,
    };
    if IN_FLIGHT.insert(&thread, &call, 0).is_err() {
        emit::count(loss::IN_FLIGHT_FULL);
        debug!(ctx, "table of calls in flight is full");
    }
    Some(())
}

#[uretprobe]
pub(crate) fn call_return(ctx: RetProbeContext) -> u32 {
    let _ = leave(&ctx);
    0
}

fn leave(ctx: &RetProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    // SAFETY: only this thread writes its entry, and it is here.
    let call = *unsafe { IN_FLIGHT.get(&thread) }?;
    // The return has popped the return address that `stack` points at.
    if stack_pointer(ctx.as_ptr()) != call.stack + 8 {
        return None;
    }
    let _ = IN_FLIGHT.remove(&thread);
    let function = Cookie::from_bits(call.cookie)?.function;
    let moved = moved_bytes(function, call.length, ctx.ret::<u64>())?;
    let connection = connection::find((thread >> 32) as u32, call.object)?;
    emit::call(thread, &call, function, moved, connection);
    Some(())
}

/// How many bytes the call moved; `None` when it failed or moved none.
fn moved_bytes(function: Function, length: u64, result: u64) -> Option<u64> {
    // -1 can come back as 0x00000000ffffffff: only the low half is the `int`.
    let result = result as i32;
    if result <= 0 {
        return None;
    }
    if function.length_argument().is_none() {
        return Some(result as u64);
    }
    // SAFETY: the helper checks the address.
    match unsafe { bpf_probe_read_user(length as *const u64) } {
        Ok(0) => None,
        Ok(moved) => Some(moved),
        Err(_) => {
            emit::count(loss::FAULT);
            None
        }
    }
}

/// The TLS object of the call that a thread is in.
pub(crate) fn object(thread: u64) -> Option<u64> {
    // SAFETY: only this thread writes its entry, and it is here.
    unsafe { IN_FLIGHT.get(&thread) }.map(|call| call.object)
}

/// Forgets the call of a thread that is gone.
pub(crate) fn forget(thread: u64) {
    let _ = IN_FLIGHT.remove(&thread);
}

#[uprobe]
pub(crate) fn object_free(ctx: ProbeContext) -> u32 {
    let thread = bpf_get_current_pid_tgid();
    if let Some(object) = ctx.arg::<u64>(0) {
        connection::close(thread, object);
    }
    0
}

#[cfg(bpf_target_arch = "x86_64")]
fn stack_pointer(regs: *mut core::ffi::c_void) -> u64 {
    // SAFETY: the context of a uprobe program is a `pt_regs` that the verifier lets us read.
    unsafe { (*regs.cast::<aya_ebpf::bindings::pt_regs>()).rsp }
}

#[cfg(bpf_target_arch = "aarch64")]
fn stack_pointer(regs: *mut core::ffi::c_void) -> u64 {
    // SAFETY: the context of a uprobe program is a `user_pt_regs` that the verifier lets us read.
    unsafe { (*regs.cast::<aya_ebpf::bindings::user_pt_regs>()).sp }
}
