//! The `tlstap` program: command line in, exit status out.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use clap_complete::CompleteEnv;
use tlstap::{cli::Cli, command};

fn main() -> ExitCode {
    // Ends here when a shell asks what may stand on the command line.
    CompleteEnv::with_factory(Cli::command).bin("tlstap").complete();
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
