//! The kernel half: copies plaintext at the entry and return of TLS functions into a ring buffer.
//!
//! Comes in: uprobe hits with a cookie that names the function. Goes out: records of the shared
//! layout. It parses no protocol and follows no structure that is private to a library.
#![cfg_attr(target_arch = "bpf", no_std)]
#![cfg_attr(target_arch = "bpf", no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::cast_possible_truncation,
        clippy::indexing_slicing,
        clippy::needless_borrows_for_generic_args,
        reason = "registers are taken apart, the verifier proves indices, and a key or value is \
                  not copied again on a stack of 512 bytes"
    )
)]

#[cfg(target_arch = "bpf")]
mod call;
#[cfg(target_arch = "bpf")]
mod connection;
#[cfg(target_arch = "bpf")]
mod emit;
#[cfg(target_arch = "bpf")]
mod goroutine;
#[cfg(target_arch = "bpf")]
mod limits;
#[cfg(target_arch = "bpf")]
mod machine;
#[cfg(target_arch = "bpf")]
mod memory_bio;
#[cfg(target_arch = "bpf")]
mod socket;
#[cfg(target_arch = "bpf")]
mod task;
#[cfg(target_arch = "bpf")]
mod thread;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(all(target_arch = "bpf", not(test)))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
