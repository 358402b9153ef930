//! Calls in flight: what the arguments were at entry, kept until the call returns.
//!
//! Of the calls of one thread on one TLS object in one direction only the outermost counts, so that no
//! byte is counted twice: `SSL_read_ex` may call `SSL_read`. A call inside a call on *another* object is
//! TLS inside TLS, and is followed too, one level deep; likewise a write inside a read.
//!
//! Where a function that reads still has its arguments near its end, it is looked at there only
//! ([`call_end`]): one hit instead of two, and nothing is kept.
//!
//! A call that was left without a return (`longjmp`, a fiber that never goes on) must not hide
//! those that come after it. It is known by its stack: see [`is_alive`].

use core::ffi::c_void;

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_user},
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use aya_log_ebpf::debug;
use tlstap_ebpf::{Cookie, Function, direction, loss};

use crate::{
    connection, emit, limits, machine, task,
    thread::{self, Thread},
};

/// nspr/prio.h
const PR_MSG_PEEK: u64 = 2;

#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Call {
    /// Stack pointer at entry; 0 when there is no call.
    pub(crate) stack: u64,
    pub(crate) object: u64,
    pub(crate) buffer: u64,
    /// Where the function stores the length; of one that takes vectors, how many bytes of them are
    /// not meant; or 0.
    pub(crate) length: u64,
    pub(crate) entered: u64,
    pub(crate) cookie: u64,
}

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
    // A handshake is followed for the socket alone.
    if function == Function::Handshake && connection::is_bound((thread >> 32) as u32, object) {
        return None;
    }
    // All are read before one is chosen: the verifier allows no access to the context at an
    // offset that is chosen at run time, which the compiler would otherwise make of it.
    let (fourth, fifth) = core::hint::black_box((ctx.arg(3)?, ctx.arg(4)?));
    if function == Function::ReadUnlessPeek && fourth & PR_MSG_PEEK != 0 {
        return None;
    }
    let length = match function.length_argument() {
        Some(3) => fourth,
        Some(_) => fifth,
        None if function == Function::WriteVectorsFrom => fourth,
        None => 0,
    };
    let (buffer, length) = match function {
        // No memory is there, so that the bytes of a packet are told to be missing.
        Function::ReadPacket => (0, length),
        Function::WriteChunks => chunks(ctx.arg(1)?),
        _ => (ctx.arg(1)?, length),
    };
    let call = Call {
        stack,
        object,
        buffer,
        length,
        // SAFETY: plain helper without arguments.
        entered: unsafe { bpf_ktime_get_ns() },
        cookie: bits,
    };
    let kept = thread::current().map(|thread| thread.keep(call));
    match kept {
        Some(Kept::Yes) => Some(()),
        Some(Kept::Within) => None,
        Some(Kept::TooDeep) | None => {
            connection::miss((thread >> 32) as u32, object, function);
            debug!(ctx, "no room for a call in flight");
            None
        }
    }
}

/// Of [`Function::WriteChunks`], which takes its argument away from its caller: where the bytes are, and
/// [`CONTIGUOUS`]; or where the slices are, and how many bytes of them are not meant.
fn chunks(argument: u64) -> (u64, u64) {
    match machine::user_words(argument) {
        Some([0, address, _]) => (address, CONTIGUOUS),
        Some([slices, _, start]) => (slices, start),
        // No memory is there either.
        None => (0, CONTIGUOUS),
    }
}

/// Not a number of bytes that are not meant: the bytes lie in one place.
const CONTIGUOUS: u64 = u64::MAX;

/// Whether a call is followed to its return.
enum Kept {
    Yes,
    /// It is a part of one that is.
    Within,
    TooDeep,
}

impl Thread {
    fn keep(&mut self, call: Call) -> Kept {
        let Self { outer, inner, .. } = self;
        // At the same stack it is the same call, probed twice, or one that the first jumped to.
        if outer.stack == 0 || outer.stack == call.stack || !is_alive(outer, call.stack) {
            *outer = call;
            return Kept::Yes;
        }
        if is_part(outer, &call) {
            return Kept::Within;
        }
        // It is made inside another, on another object, or by what the library calls back.
        if inner.stack == 0 || inner.stack == call.stack || !is_alive(inner, call.stack) {
            *inner = call;
            return Kept::Yes;
        }
        if is_part(inner, &call) { Kept::Within } else { Kept::TooDeep }
    }

    /// Ends the call that was entered with this stack pointer.
    fn end(&mut self, stack: u64) -> Option<&Call> {
        let call = if self.outer.stack == stack { &mut self.outer } else { &mut self.inner };
        if call.stack != stack {
            return None;
        }
        call.stack = 0;
        Some(call)
    }

    /// Whether the call that it is in was entered before the probes were taken off for some time: it
    /// ended unseen.
    pub(crate) fn is_left(&self) -> bool {
        limits::is_past(self.outer.entered)
    }

    /// The TLS object of the call that it is in.
    pub(crate) fn outer(&self) -> Option<u64> {
        (self.outer.stack != 0).then_some(self.outer.object)
    }

    /// The TLS object of the call inside that one.
    pub(crate) fn inner(&self) -> Option<u64> {
        (self.inner.stack != 0).then_some(self.inner.object)
    }
}

/// Whether a call belongs to one that it is made in: on the same object, in the same direction. Node writes
/// while it reads: the library calls it back when the handshake is done.
fn is_part(outer: &Call, call: &Call) -> bool {
    let function = |call: &Call| Cookie::from_bits(call.cookie).map(|cookie| cookie.function);
    let (Some(around), Some(inside)) = (function(outer), function(call)) else { return false };
    let same = around != Function::Handshake && around.direction() == inside.direction();
    outer.object == call.object && (same || inside == Function::Handshake)
}

/// Whether a call can still return to where it is told.
fn is_alive(call: &Call, now: u64) -> bool {
    !limits::is_past(call.entered) && can_return(call.stack, now)
}

/// Whether a call that was entered with this stack pointer can still return.
///
/// While it can, its return address is replaced by that of the kernel's return trampoline, which
/// lies at the beginning of a page (`uprobe_get_trampoline_vaddr`, kernel/events/uprobes.c). When
/// the call was left by `longjmp`, the thread went on above it, and another frame lies there now.
#[cfg(bpf_target_arch = "x86_64")]
fn can_return(stack: u64, _now: u64) -> bool {
    // SAFETY: the helper checks the address.
    let address = unsafe { bpf_probe_read_user(stack as *const u64) }.unwrap_or(0);
    address != 0 && address % 4096 == 0
}

/// Likewise; the return address is in a register here, so the stack must do: it grows downwards.
#[cfg(bpf_target_arch = "aarch64")]
fn can_return(stack: u64, now: u64) -> bool {
    now < stack
}

#[uretprobe]
pub(crate) fn call_return(ctx: RetProbeContext) -> u32 {
    let _ = leave(&ctx);
    0
}

fn leave(ctx: &RetProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let tgid = (thread >> 32) as u32;
    let known = thread::known()?;
    let began = connection::began(tgid, Some(known));
    let call = known.end(machine::stack_at_entry(ctx.as_ptr()))?;
    let function = Cookie::from_bits(call.cookie)?.function;
    if function == Function::New {
        return connection::end(thread, ctx.ret::<u64>());
    }
    let moved = moved_bytes(function, call.length, ctx.ret::<u64>())?;
    let connection = connection::find(tgid, call.object, began)?;
    // First, so that what the agent makes of the bytes can wait for the socket.
    if function.direction() == direction::TRANSMIT {
        connection::sent(thread, call.object, connection);
    }
    if !function.carries_payload() {
        emit::kernel_tls(thread, call, moved, connection);
        return Some(());
    }
    let allowed = limits::allowance(tgid, moved);
    let chunked = function == Function::WriteChunks && call.length != CONTIGUOUS;
    if chunked || function.takes_vectors() {
        emit::vectors(allowed, call, function, moved, connection);
    } else {
        emit::call(allowed, call, function, moved, connection);
    }
    Some(())
}

/// Near the end of a function that reads: nothing was kept at its entry.
#[uprobe]
pub(crate) fn call_end(ctx: ProbeContext) -> u32 {
    let _ = end(&ctx);
    0
}

fn end(ctx: &ProbeContext) -> Option<()> {
    let registers = machine::by_number(ctx.as_ptr());
    let result = registers[machine::RESULT] as i32;
    if result <= 0 {
        return None;
    }
    let thread = bpf_get_current_pid_tgid();
    let tgid = (thread >> 32) as u32;
    if task::ignored(tgid) {
        return None;
    }
    let cookie = machine::cookie(ctx.as_ptr());
    let Cookie { places, library, .. } = Cookie::from_bits(cookie)?;
    let held = |register: u8| registers[usize::from(register) & 15];
    if places.zero.is_some_and(|zero| held(zero) as u32 != 0) {
        return None;
    }
    let length = held(places.length);
    let function = Function::ReadEx;
    let moved = moved_bytes(function, length, result as u64)?;
    let object = held(places.object);
    let known = thread::current()?;
    // When it was entered was not seen.
    // SAFETY: plain helper without arguments.
    let entered = unsafe { bpf_ktime_get_ns() };
    let stack = machine::stack_pointer(ctx.as_ptr());
    if !known.ends(entered, stack, object, library) {
        return None;
    }
    let connection = connection::find(tgid, object, connection::began(tgid, Some(known)))?;
    let call = Call { stack, object, buffer: held(places.buffer), length, entered, cookie };
    emit::call(limits::allowance(tgid, moved), &call, function, moved, connection);
    Some(())
}

/// At the entry of a function that is given plaintext which was received.
#[uprobe]
pub(crate) fn plaintext_take(ctx: ProbeContext) -> u32 {
    let _ = take(&ctx);
    0
}

fn take(ctx: &ProbeContext) -> Option<()> {
    let thread = bpf_get_current_pid_tgid();
    let tgid = (thread >> 32) as u32;
    if task::ignored(tgid) {
        return None;
    }
    let cookie = machine::cookie(ctx.as_ptr());
    let (object, argument) = (ctx.arg(0)?, ctx.arg::<u64>(1)?);
    let [_, buffer, moved] = machine::user_words(argument)?;
    if moved == 0 {
        return None;
    }
    // SAFETY: plain helper without arguments.
    let entered = unsafe { bpf_ktime_get_ns() };
    let connection = connection::find(tgid, object, connection::began(tgid, thread::known()))?;
    let call = Call { stack: 0, object, buffer, length: 0, entered, cookie };
    let allowed = limits::allowance(tgid, moved);
    emit::call(allowed, &call, Function::TakePlaintext, moved, connection);
    Some(())
}

/// How many bytes the call moved; `None` when it failed or moved none.
fn moved_bytes(function: Function, length: u64, result: u64) -> Option<u64> {
    match function {
        Function::Peek | Function::Handshake | Function::Uncork | Function::New => return None,
        Function::Sendfile
        | Function::WriteVectors
        | Function::WriteVectorsFrom
        | Function::WriteChunks => return (0 < result as i64).then_some(result),
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
