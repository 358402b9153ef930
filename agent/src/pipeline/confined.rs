//! The threads that decode: what they take in comes from others, so they can do nothing but compute and
//! write (`privilege`).

use std::{io, thread};

use tokio::{
    runtime::Handle,
    sync::oneshot::{self, Receiver},
};

use crate::privilege;

/// Does the work on a thread of its own; the receiver gives what it came to. Must be called in a tokio
/// runtime, whose own threads keep the time.
pub(super) fn spawn<F>(work: F) -> io::Result<Receiver<F::Output>>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let (done, result) = oneshot::channel();
    let runtime = Handle::current();
    thread::Builder::new().name("tlstap-decode".to_owned()).spawn(move || {
        work_in_batches();
        privilege::confine();
        // Nobody waits for it any more when the agent is stopping.
        let _ = done.send(runtime.block_on(work));
    })?;
    Ok(result)
}

/// What decodes gives way to a program that has something to do, and does more at once when its turn
/// comes: the program is the one that is traced, or its client. By its policy it does not take the
/// processor from one (sched(7), `SCHED_BATCH`), by its long slice it is one's at once that wakes up
/// (`sched_runtime` of sched_setattr(2), Linux 6.12). It has its fair share of the processor all the same.
fn work_in_batches() {
    /// The longest, in nanoseconds.
    const SLICE: u64 = 100_000_000;
    // SAFETY: plain integers, of which all zeroes are the parameters of the policy.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    attributes.size = u32::try_from(size_of::<libc::sched_attr>()).unwrap_or_default();
    attributes.sched_policy = libc::SCHED_BATCH.cast_unsigned();
    attributes.sched_runtime = SLICE;
    // SAFETY: it reads the structure, and concerns the calling thread only. Where it is forbidden,
    // nothing changes.
    unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
}
