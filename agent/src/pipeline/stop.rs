//! Stopping at once, however many probes there are.
//!
//! Closing the descriptor of a link takes the kernel some 40 ms, that of a perf link about 0.1 s, one
//! after the other, and a process that exits pays for all of them before its parent hears of it. So
//! the descriptors are left to a child, which ends after the agent has.

use std::{fs, io, ptr};

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
    tokio::select! {
        told = told_to_stop() => told,
        () = output_closed() => Ok(()),
    }
}

/// Completes on the next SIGINT, SIGTERM or SIGHUP.
pub(super) async fn told_to_stop() -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
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

/// How many processes detach at a time. Nearly all of the time that closing a link takes is
/// waiting, which the kernel does for several at once, other than with perf links.
const CLOSERS: i32 = 16;

/// Ends the process with the given exit status, leaving its descriptors to a child that closes
/// them in its own time. Must come last: nothing is flushed or dropped.
pub fn leave(status: u8) -> ! {
    let parent = pidfd_open(getpid(), PidfdFlags::empty());
    let end = end_of_descriptors();
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
        detach_all(end);
        // SAFETY: ends the child.
        unsafe { libc::_exit(0) }
    }
    // SAFETY: ends the process without running destructors, which would detach the probes here.
    unsafe { libc::_exit(i32::from(status)) }
}

/// One more than the highest open descriptor.
fn end_of_descriptors() -> i32 {
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let highest = open.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()).max();
    highest.map_or(0, |highest| highest.saturating_add(1))
}

/// Closes all descriptors, each of several children a part of them, by ending: the kernel leaves no probe behind
/// when a process is killed that is ending already, but does when it is closing a descriptor
/// (`attach/apart.rs`).
///
/// Waits for all: an init that reaps nothing, as in many containers, would keep each of them.
fn detach_all(end: i32) {
    // Read from until nobody can write to them any more.
    let (Some(sorted), Some(over)) = (pipe(), pipe()) else { return };
    for part in 0..CLOSERS {
        // SAFETY: like a fork; the child makes raw system calls only.
        if unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) } == 0 {
            close([over.write]);
            // Others have them too, so that nothing is detached by this.
            let kept = |descriptor: &i32| descriptor % CLOSERS == part;
            let ours = [sorted.read, sorted.write, over.read, over.write];
            close((0..end).filter(|descriptor| !kept(descriptor) && !ours.contains(descriptor)));
            close([sorted.write]);
            wait_for_end(over.read);
            // SAFETY: ends the child, which is the last one that has its part.
            unsafe { libc::_exit(0) }
        }
    }
    close([sorted.write]);
    wait_for_end(sorted.read);
    close((0..end).filter(|descriptor| *descriptor != over.write));
    close([over.write]);
    // SAFETY: a raw system call; without a place for it, no status is written.
    while unsafe { libc::waitpid(-1, ptr::null_mut(), 0) } > 0 {}
}

/// Both ends of a pipe.
#[derive(Clone, Copy)]
struct Pipe {
    read: i32,
    write: i32,
}

fn pipe() -> Option<Pipe> {
    let mut ends = [0; 2];
    // SAFETY: there is room for both descriptors.
    let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } == 0;
    made.then_some(Pipe { read: ends[0], write: ends[1] })
}

fn close(descriptors: impl IntoIterator<Item = i32>) {
    for descriptor in descriptors {
        // SAFETY: nothing uses descriptors any more.
        unsafe { libc::close(descriptor) };
    }
}

/// Waits until nobody can write to a pipe any more.
fn wait_for_end(pipe: i32) {
    let mut byte = 0_u8;
    // SAFETY: there is room for a byte, though none comes.
    while unsafe { libc::read(pipe, (&raw mut byte).cast(), 1) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}
