//! Links are made and dropped apart from the agent, by a child that shares its memory and its
//! descriptors: nothing that ends the agent ends it half-way.
//!
//! To put a probe into a process, and to take it out again, the kernel looks up its memory, and gives up when
//! the thread that asks is being killed (`fatal_signal_pending` in mm/gup.c), as all threads are
//! when one ends the process, or somebody kills it. What it has put there by then stays, for as long as the
//! probed process lives: `failed to unregister, leaking uprobe` (kernel/events/uprobes.c, Linux 6.18). A
//! process that is exiting already is not asked.
//!
//! The child is another process to the kernel, and the calling thread waits for it, as with vfork(2). When the
//! agent is killed meanwhile the child ends its work, and is then the last one that has the descriptors.

use std::{
    ffi::{c_int, c_void},
    io, mem,
    mem::MaybeUninit,
    ptr,
};

/// Bytes of the child's stack.
const STACK: usize = 512 << 10;

/// Memory and descriptors are shared, and the caller waits. It is told of the child's end by no signal.
const FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_FILES;

/// What a child does, and what came of it.
struct Task<W, T> {
    work: Option<W>,
    done: Option<T>,
}

/// Does the work in a child. `Err`: somebody killed that.
///
/// Where no child can be made it is done here.
pub(super) fn apart<T>(work: impl FnOnce() -> T) -> io::Result<T> {
    let mut task = Task { work: Some(work), done: None };
    run(&mut task);
    if let Some(work) = task.work.take() {
        return Ok(work());
    }
    task.done.ok_or_else(|| io::Error::other("the child that changes probes was killed"))
}

fn run<W: FnOnce() -> T, T>(task: &mut Task<W, T>) {
    let mut stack = Vec::<MaybeUninit<u128>>::with_capacity(STACK / size_of::<u128>());
    let top = stack.spare_capacity_mut().as_mut_ptr_range().end;
    let blocked = Blocked::all();
    // SAFETY: the child has a stack of its own. It has the memory and the thread-local variables of this
    // thread, which does not run before the child has ended; when it is killed, nothing of it runs at
    // all. The task outlives the call.
    let child = unsafe {
        libc::clone(child::<W, T>, top.cast(), FLAGS, ptr::from_mut(task).cast::<c_void>())
    };
    drop(blocked);
    if child > 0 {
        // SAFETY: a child of this thread, which nobody else waits for.
        while unsafe { libc::waitpid(child, ptr::null_mut(), libc::__WALL) } < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
    }
}

extern "C" fn child<W: FnOnce() -> T, T>(task: *mut c_void) -> c_int {
    // SAFETY: what this was started with; the thread that owns it waits.
    let task = unsafe { &mut *task.cast::<Task<W, T>>() };
    // Out of the group of processes that a terminal or a shell kills.
    // SAFETY: concerns this process only.
    unsafe { libc::setsid() };
    task.done = task.work.take().map(|work| work());
    0
}

/// All signals, kept from this thread and from a child that it makes: their handlers are the agent's.
struct Blocked(libc::sigset_t);

impl Blocked {
    fn all() -> Self {
        let mut all = MaybeUninit::uninit();
        let mut before = MaybeUninit::uninit();
        // SAFETY: both sets are written before they are read.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set is the one that held before.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, ptr::null_mut()) };
    }
}

/// Something that is dropped by such a child.
#[derive(Debug)]
pub(super) struct Apart<T>(mem::ManuallyDrop<T>);

impl<T> Apart<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(mem::ManuallyDrop::new(value))
    }
}

impl<T> Drop for Apart<T> {
    fn drop(&mut self) {
        // SAFETY: it is not used again.
        let value = unsafe { mem::ManuallyDrop::take(&mut self.0) };
        // A child that is killed has dropped it, or will never.
        let _ = apart(move || drop(value));
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::fd::AsRawFd as _, process, sync::mpsc, thread};

    use super::*;

    #[test]
    fn is_another_process_with_the_same_memory_and_descriptors() {
        let mut seen = Vec::new();
        let file = apart(|| {
            seen.push(process::id());
            tempfile::tempfile().unwrap()
        });
        let file = file.unwrap();
        assert_eq!(seen.len(), 1);
        assert_ne!(seen, [process::id()]);
        assert!(!fs::exists(format!("/proc/{}", seen[0])).unwrap(), "left as a zombie");
        assert!(fs::exists(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap());
    }

    #[test]
    fn of_many_threads_at_once() {
        let threads = (0..8_u64).map(|number| {
            thread::spawn(move || {
                (0..200).map(|_| apart(|| format!("{number}").len() as u64).unwrap()).sum::<u64>()
            })
        });
        let threads: Vec<_> = threads.collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), 200);
        }
    }

    #[test]
    fn one_that_is_killed_is_told() {
        let killed = apart(|| {
            // SAFETY: kills the child.
            unsafe { libc::syscall(libc::SYS_kill, libc::syscall(libc::SYS_getpid), libc::SIGKILL) }
        });
        assert!(killed.is_err());
    }

    #[test]
    fn what_is_dropped_is_dropped_there() {
        struct Tells(mpsc::Sender<u32>);
        impl Drop for Tells {
            fn drop(&mut self) {
                self.0.send(process::id()).unwrap();
            }
        }
        let (tell, told) = mpsc::channel();
        drop(Apart::new(Tells(tell)));
        assert_ne!(told.recv().unwrap(), process::id());
        assert!(told.recv().is_err(), "dropped twice");
    }
}
