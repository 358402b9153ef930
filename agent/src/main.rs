//! The `tlstap` program: command line in, exit status out.

use std::process::ExitCode;

use clap::Parser as _;
use tlstap::{cli::Cli, command};

fn main() -> ExitCode {
    return_memory();
    command::run(Cli::parse())
}

/// Keeps large buffers out of the heap, so that freeing them gives their memory back. Otherwise
/// glibc raises the threshold to the largest buffer ever freed, and reading one large ELF file
/// would stay in the resident set for good.
fn return_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}
