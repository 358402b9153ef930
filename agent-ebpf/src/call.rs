//! Calls in flight: what the arguments were at entry, kept until the call returns.
//!
//! Of the calls of one thread on one TLS object only the outermost counts, so that no byte is
//! counted twice: `SSL_read_ex` may call `SSL_read`. A call inside a call on *another* object is
//! TLS inside TLS, and is followed too, one level deep.
//!
//! A call that was left without a return (`longjmp`, a fiber that never goes on) must not hide
//! those that come after it. It is known by its stack: see [`is_alive`].

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_user},
    macros::{map, uprobe, uretprobe},
    maps::HashMap,
    programs::{ProbeContext, RetProbeContext},
};
use aya_log_ebpf::debug;
use tlstap_ebpf::{Cookie, Function, direction, loss};

use crate::{connection, emit, machine, task};

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Call {
    /// Stack pointer at entry.
    pub(crate) stack: u64,
    pub(crate) object: u64,
    pub(crate) buffer: u64,
    /// Where the function stores the length, or 0.
    pub(crate) length: u64,
    pub(crate) entered: u64,
    pub(crate) cookie: u64,
}

/// By thread. The agent sizes it before loading.
#[map]
static IN_FLIGHT: HashMap<u64, Call> = HashMap::with_max_entries(65_536, 0);

/// By thread: calls inside calls on other objects.
#[map]
static INNER: HashMap<u64, Call> = HashMap::with_max_entries(4_096, 0);

#[uprobe]
pub(crate) fn call_entry(ctx: ProbeContext) -> u32 {
    let _ = enter(&ctx);
    0
}

/// Serves entry and return, for links that let the entry refuse the return (Linux 6.13).
///
/// aya's macro would have it return 0, whatever it returns here.
#[unsafe(no_mangle)]
#[unsafe(link_section = "uprobe")]
extern "C" fn call_session(ctx: *mut c_void) -> u32 {
    if !machine::is_at_probe(ctx) {
        let _ = leave(&RetProbeContext::new(ctx));
        return session::RETURN;
    }
    match enter(&ProbeContext::new(ctx)) {
        Some(()) => session::RETURN,
        None => session::NO_RETURN,
    }
}

/// What the entry of a session says (`uprobe_multi_link_handler`, kernel/trace/bpf_trace.c).
mod session {
    /// The program is to run when the call returns.
    pub(super) const RETURN: u32 = 0;
    /// The call's return is of no interest, and is not probed.
    pub(super) const NO_RETURN: u32 = 1;
}

/// Keeps a call until it returns. `None` when it is not kept, so that its return says nothing.
fn enter(ctx: &ProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    if task::ignored((thread >> 32) as u32) {
        return None;
    }
    let bits = machine::cookie(ctx.as_ptr());
    let function = Cookie::from_bits(bits)?.function;
    let stack = machine::stack_pointer(ctx.as_ptr());
    let object = ctx.arg(0)?;
    // Both are read before one is chosen: the verifier allows no access to the context at an
    // offset that is chosen at run time, which the compiler would otherwise make of it.
    let (fourth, fifth) = core::hint::black_box((ctx.arg(3)?, ctx.arg(4)?));
    let call = Call {
        stack,
        object,
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
    let kept = match place(thread, stack, object) {
        Place::Outer => IN_FLIGHT.insert(&thread, &call, 0).is_ok(),
        Place::Inner => INNER.insert(&thread, &call, 0).is_ok(),
        Place::Within => return None,
        Place::TooDeep => false,
    };
    if !kept {
        connection::miss((thread >> 32) as u32, object, function);
        debug!(ctx, "no room for a call in flight");
    }
    kept.then_some(())
}

/// Where a call is kept.
enum Place {
    Outer,
    /// It is made inside another, on another object.
    Inner,
    /// It is a part of one that is kept.
    Within,
    TooDeep,
}

fn place(thread: u64, stack: u64, object: u64) -> Place {
    // SAFETY: only this thread writes its entries, and it is here.
    let Some(outer) = (unsafe { IN_FLIGHT.get(&thread) }) else { return Place::Outer };
    // At the same stack it is the same call, probed twice, or one that the first jumped to.
    if outer.stack == stack || !is_alive(outer.stack, stack) {
        return Place::Outer;
    }
    if outer.object == object {
        return Place::Within;
    }
    // SAFETY: as above.
    match unsafe { INNER.get(&thread) } {
        Some(inner) if inner.stack != stack && is_alive(inner.stack, stack) => {
            if inner.object == object { Place::Within } else { Place::TooDeep }
        }
        _ => Place::Inner,
    }
}

/// Whether a call that was entered with this stack pointer can still return.
///
/// While it can, its return address is replaced by that of the kernel's return trampoline, which
/// lies at the beginning of a page (`uprobe_get_trampoline_vaddr`, kernel/events/uprobes.c). When
/// the call was left by `longjmp`, the thread went on above it, and another frame lies there now.
#[cfg(bpf_target_arch = "x86_64")]
fn is_alive(stack: u64, _now: u64) -> bool {
    // SAFETY: the helper checks the address.
    let address = unsafe { bpf_probe_read_user(stack as *const u64) }.unwrap_or(0);
    address != 0 && address % 4096 == 0
}

/// Likewise; the return address is in a register here, so the stack must do: it grows downwards.
#[cfg(bpf_target_arch = "aarch64")]
fn is_alive(stack: u64, now: u64) -> bool {
    now < stack
}

#[uretprobe]
pub(crate) fn call_return(ctx: RetProbeContext) -> u32 {
    let _ = leave(&ctx);
    0
}

fn leave(ctx: &RetProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let call = take(thread, machine::stack_at_entry(ctx.as_ptr()))?;
    let function = Cookie::from_bits(call.cookie)?.function;
    let moved = moved_bytes(function, call.length, ctx.ret::<u64>())?;
    let connection = connection::find((thread >> 32) as u32, call.object)?;
    // First, so that what the agent makes of the bytes can wait for the socket.
    if function.direction() == direction::TRANSMIT {
        connection::sent(thread, call.object, connection);
    }
    if function.carries_payload() {
        emit::call(thread, &call, function, moved, connection);
    } else {
        emit::kernel_tls(thread, &call, moved, connection);
    }
    Some(())
}

/// Takes the call that was entered with this stack pointer out of the tables.
fn take(thread: u64, stack: u64) -> Option<Call> {
    // SAFETY: only this thread writes its entries, and it is here.
    if let Some(outer) = unsafe { IN_FLIGHT.get(&thread) }
        && outer.stack == stack
    {
        let call = *outer;
        let _ = IN_FLIGHT.remove(&thread);
        return Some(call);
    }
    // SAFETY: as above.
    let call = *unsafe { INNER.get(&thread) }.filter(|inner| inner.stack == stack)?;
    let _ = INNER.remove(&thread);
    Some(call)
}

/// How many bytes the call moved; `None` when it failed or moved none.
fn moved_bytes(function: Function, length: u64, result: u64) -> Option<u64> {
    match function {
        Function::Peek => return None,
        Function::Sendfile => return (0 < result as i64).then_some(result),
        _ => {}
    }
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
#[inline(always)]
pub(crate) fn outer(thread: u64) -> Option<u64> {
    // SAFETY: only this thread writes its entries, and it is here.
    unsafe { IN_FLIGHT.get(&thread) }.map(|call| call.object)
}

/// The TLS object of the call inside that one.
#[inline(always)]
pub(crate) fn inner(thread: u64) -> Option<u64> {
    // SAFETY: as above.
    unsafe { INNER.get(&thread) }.map(|call| call.object)
}

/// Forgets the calls of a thread that is gone.
pub(crate) fn forget(thread: u64) {
    let _ = IN_FLIGHT.remove(&thread);
    let _ = INNER.remove(&thread);
}
