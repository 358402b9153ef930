//! What depends on the processor: registers at a probe, and those of a system call.

use core::ffi::c_void;

use aya_ebpf::helpers::{
    bpf_probe_read_kernel, bpf_probe_read_user,
    generated::{
        bpf_get_attach_cookie, bpf_get_current_task_btf, bpf_get_func_ip, bpf_task_pt_regs,
    },
};
use tlstap_ebpf::{Cookie, Function};

#[cfg(bpf_target_arch = "x86_64")]
use aya_ebpf::bindings::pt_regs as Registers;
#[cfg(bpf_target_arch = "aarch64")]
use aya_ebpf::bindings::user_pt_regs as Registers;

/// Bytes that a call pushes: its return address.
#[cfg(bpf_target_arch = "x86_64")]
const PUSHED: u64 = 8;
#[cfg(bpf_target_arch = "aarch64")]
const PUSHED: u64 = 0;

/// The cookie of the probe that was hit.
pub(crate) fn cookie(context: *mut c_void) -> u64 {
    // SAFETY: the context is the one that the program was called with.
    unsafe { bpf_get_attach_cookie(context) }
}

/// The function that was called.
pub(crate) fn function(context: *mut c_void) -> Option<Function> {
    Cookie::from_bits(cookie(context)).map(|cookie| cookie.function)
}

/// The stack pointer of the process where a probe was hit.
pub(crate) fn stack_pointer(context: *mut c_void) -> u64 {
    let registers = context.cast::<Registers>();
    // SAFETY: the context of a uprobe program is such registers, which the verifier lets us read.
    unsafe {
        #[cfg(bpf_target_arch = "x86_64")]
        return (*registers).rsp;
        #[cfg(bpf_target_arch = "aarch64")]
        return (*registers).sp;
    }
}

/// In a session: whether the probed instruction was hit, rather than the call returned.
///
/// The helper gives the probed address both times. When the call returns, the kernel has put its
/// return address into the registers before (`uprobe_handle_trampoline`,
/// kernel/events/uprobes.c), and that is another: none of the calls that are followed returns to
/// its own beginning. `bpf_session_is_return` would tell too, but is a kfunc, which needs the
/// kernel's BTF.
pub(crate) fn is_at_probe(context: *mut c_void) -> bool {
    // SAFETY: the context is the one that the program was called with.
    unsafe { bpf_get_func_ip(context) == instruction_pointer(context) }
}

/// The registers of the process where a probe was hit, by the number that they have in the
/// processor's instructions.
#[cfg(bpf_target_arch = "x86_64")]
pub(crate) fn by_number(context: *mut c_void) -> [u64; 16] {
    let registers = context.cast::<Registers>();
    // Each is read for itself: the verifier allows no access to the context at an offset that is
    // chosen at run time, which the compiler would otherwise make of it.
    // SAFETY: the context of a uprobe program is such registers, which the verifier lets us read.
    unsafe {
        [
            (&raw const (*registers).rax).read_volatile(),
            (&raw const (*registers).rcx).read_volatile(),
            (&raw const (*registers).rdx).read_volatile(),
            (&raw const (*registers).rbx).read_volatile(),
            0,
            (&raw const (*registers).rbp).read_volatile(),
            (&raw const (*registers).rsi).read_volatile(),
            (&raw const (*registers).rdi).read_volatile(),
            (&raw const (*registers).r8).read_volatile(),
            (&raw const (*registers).r9).read_volatile(),
            (&raw const (*registers).r10).read_volatile(),
            (&raw const (*registers).r11).read_volatile(),
            (&raw const (*registers).r12).read_volatile(),
            (&raw const (*registers).r13).read_volatile(),
            (&raw const (*registers).r14).read_volatile(),
            (&raw const (*registers).r15).read_volatile(),
        ]
    }
}

/// Nothing is probed there on other processors.
#[cfg(not(bpf_target_arch = "x86_64"))]
pub(crate) fn by_number(_context: *mut c_void) -> [u64; 16] {
    [0; 16]
}

/// The number of the register that results are returned in.
pub(crate) const RESULT: usize = 0;

/// What is in the registers of Go's functions (src/cmd/compile/abi-internal.md), when a method that
/// takes a slice is called. The first is the first result too, when it returns.
pub(crate) struct GoRegisters {
    pub(crate) receiver: u64,
    pub(crate) pointer: u64,
    pub(crate) length: u64,
    pub(crate) goroutine: u64,
}

#[cfg(bpf_target_arch = "x86_64")]
pub(crate) fn go(context: *mut c_void) -> GoRegisters {
    let registers = context.cast::<Registers>();
    // SAFETY: the context of a uprobe program is such registers, which the verifier lets us read.
    unsafe {
        GoRegisters {
            receiver: (*registers).rax,
            pointer: (*registers).rbx,
            length: (*registers).rcx,
            goroutine: (*registers).r14,
        }
    }
}

/// Nothing of Go is probed on other processors.
#[cfg(not(bpf_target_arch = "x86_64"))]
pub(crate) fn go(_context: *mut c_void) -> GoRegisters {
    GoRegisters { receiver: 0, pointer: 0, length: 0, goroutine: 0 }
}

/// Where the process goes on.
fn instruction_pointer(context: *mut c_void) -> u64 {
    let registers = context.cast::<Registers>();
    // SAFETY: the context of a uprobe program is such registers, which the verifier lets us read.
    unsafe {
        #[cfg(bpf_target_arch = "x86_64")]
        return (*registers).rip;
        #[cfg(bpf_target_arch = "aarch64")]
        return (*registers).pc;
    }
}

/// At a function's return: what its stack pointer was at entry.
pub(crate) fn stack_at_entry(context: *mut c_void) -> u64 {
    stack_pointer(context) - PUSHED
}

/// Where the first byte lies, in the memory of the process, that the system call of this thread
/// sends. `None` when it sends otherwise than from memory.
pub(crate) fn sent_from() -> Option<u64> {
    let (number, argument) = system_call()?;
    match number {
        nr::WRITE | nr::SENDTO => Some(argument),
        nr::WRITEV => user(argument),
        // `msg_iov` of `struct msghdr` (include/linux/socket.h), then `iov_base` of the first.
        nr::SENDMSG | nr::SENDMMSG => user(user(argument + 16)?),
        _ => None,
    }
}

/// The number and the second argument of the system call that this thread is in.
fn system_call() -> Option<(u64, u64)> {
    // SAFETY: the task is this one, which stays; the reads are checked by their helper.
    unsafe {
        let registers = bpf_task_pt_regs(bpf_get_current_task_btf()) as *const KernelRegisters;
        let number = bpf_probe_read_kernel(&raw const (*registers).number).ok()?;
        let argument = bpf_probe_read_kernel(&raw const (*registers).second).ok()?;
        // On some machines the other half is something else.
        Some((number & 0xffff_ffff, argument))
    }
}

/// The goroutine that this thread runs, in a system call of a program of Go: it is in the same
/// register there as in Go's functions.
pub(crate) fn goroutine_in_kernel() -> Option<u64> {
    // SAFETY: the task is this one, which stays; the read is checked by its helper.
    unsafe {
        let registers = bpf_task_pt_regs(bpf_get_current_task_btf()) as *const KernelRegisters;
        bpf_probe_read_kernel(&raw const (*registers).goroutine).ok()
    }
}

fn user(address: u64) -> Option<u64> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const u64) }.ok()
}

/// Words at an address in the memory of the process.
pub(crate) fn user_words<const N: usize>(address: u64) -> Option<[u64; N]> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const [u64; N]) }.ok()
}

/// The first bytes at an address in the memory of the process.
pub(crate) fn user_bytes<const N: usize>(address: u64) -> Option<[u8; N]> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_user(address as *const [u8; N]) }.ok()
}

/// `struct pt_regs` (arch/x86/include/asm/ptrace.h), as far as it is looked at.
#[cfg(bpf_target_arch = "x86_64")]
#[repr(C)]
struct KernelRegisters {
    _before: u64,
    goroutine: u64,
    _others: [u64; 11],
    second: u64,
    _first: u64,
    number: u64,
}

/// `struct pt_regs` (arch/arm64/include/asm/ptrace.h), as far as it is looked at.
#[cfg(bpf_target_arch = "aarch64")]
#[repr(C)]
struct KernelRegisters {
    _first: u64,
    second: u64,
    _others: [u64; 26],
    goroutine: u64,
    _last: [u64; 5],
    _original_first: u64,
    number: u64,
}

/// arch/x86/entry/syscalls/syscall_64.tbl
#[cfg(bpf_target_arch = "x86_64")]
mod nr {
    pub(super) const WRITE: u64 = 1;
    pub(super) const WRITEV: u64 = 20;
    pub(super) const SENDTO: u64 = 44;
    pub(super) const SENDMSG: u64 = 46;
    pub(super) const SENDMMSG: u64 = 307;
}

/// include/uapi/asm-generic/unistd.h
#[cfg(bpf_target_arch = "aarch64")]
mod nr {
    pub(super) const WRITE: u64 = 64;
    pub(super) const WRITEV: u64 = 66;
    pub(super) const SENDTO: u64 = 206;
    pub(super) const SENDMSG: u64 = 211;
    pub(super) const SENDMMSG: u64 = 269;
}
