//! Stopping at once, however many probes there are.
//!
//! Closing the descriptor of a probe takes the kernel about 0.1 s, one after the other, and a
//! process that exits pays for all of them before its parent hears of it. So the descriptors are
//! left to a child, which ends after the agent has.

use std::io;

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{PidfdFlags, getpid, pidfd_open},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    signal::unix::{SignalKind, signal},
};

/// Completes on SIGINT, SIGTERM or SIGHUP, and when nobody reads standard output any more.
pub async fn stopped() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        () = output_closed() => {}
    }
    Ok(())
}

/// Completes when standard output is a pipe or socket whose other end is closed.
async fn output_closed() {
    let watch = || {
        let fd = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
        // SAFETY: an owned descriptor is the same one for as long as it lives.
        unsafe { AsyncFd::register_with_interest(fd, Interest::ERROR) }.map_err(io::Error::from)
    };
    match watch() {
        Ok(output) => {
            let _ = output.ready(Interest::ERROR).await;
        }
        // A file cannot be waited on; it is never closed from the other side either.
        Err(error) => {
            tracing::debug!(%error, "standard output is not watched");
            std::future::pending().await
        }
    }
}

/// Ends the process with the given exit status, leaving its descriptors to a child that closes
/// them in its own time. Must come last: nothing is flushed or dropped.
pub fn leave(status: u8) -> ! {
    let parent = pidfd_open(getpid(), PidfdFlags::empty());
    // SAFETY: the child calls only functions that are safe after a fork of a process with
    // threads: raw system calls.
    if parent.is_ok() && unsafe { libc::fork() } == 0 {
        // SAFETY: as above. Standard streams are closed first, so that a pipeline ends.
        unsafe {
            libc::setsid();
            for stream in 0..3 {
                libc::close(stream);
            }
        }
        if let Ok(parent) = &parent {
            // Readable once the parent is gone; only then are the descriptors this child's alone.
            let _ = poll(&mut [PollFd::new(parent, PollFlags::IN)], None);
        }
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: ends the process without running destructors, which would detach the probes here.
    unsafe { libc::_exit(i32::from(status)) }
}
