//! Processes: which are ignored, and when they end.

use aya_ebpf::{
    Global,
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid},
    macros::{map, raw_tracepoint},
    maps::HashMap,
    programs::RawTracePointContext,
};
use tlstap_ebpf::{COMM_LEN, verdict};

use crate::{connection, goroutine, thread};

/// 1 when only some processes are traced; the agent sets it before loading.
#[unsafe(no_mangle)]
static FILTERED: Global<u32> = Global::new(0);

#[map]
static VERDICTS: HashMap<u32, u8> = HashMap::with_max_entries(65_536, 0);

#[map]
static THREADS: HashMap<[u8; COMM_LEN], u8> = HashMap::with_max_entries(256, 0);

/// Whether the agent has decided that the calling thread is of no interest.
pub(crate) fn ignored(tgid: u32) -> bool {
    if FILTERED.load() == 0 {
        return false;
    }
    // SAFETY: the byte is copied at once; the agent writes it whole.
    match unsafe { VERDICTS.get(&tgid) }.copied() {
        Some(verdict::IGNORE) => true,
        Some(verdict::BY_THREAD) => {
            let name = bpf_get_current_comm().unwrap_or_default();
            // SAFETY: the value is not read.
            unsafe { THREADS.get(&name) }.is_none()
        }
        _ => false,
    }
}

/// `sched_process_exit`: runs in each thread that exits.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub(crate) fn task_exit(_ctx: RawTracePointContext) -> i32 {
    let thread = bpf_get_current_pid_tgid();
    // The first thread has the process's number.
    if (thread >> 32) as u32 == thread as u32 {
        leave(thread);
    }
    0
}

/// `sched_process_exec`: the thread now is another program, and the process's only thread.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub(crate) fn task_exec(_ctx: RawTracePointContext) -> i32 {
    let thread = bpf_get_current_pid_tgid();
    if let Some(known) = thread::known() {
        known.forget();
    }
    leave(thread);
    0
}

/// What was decided about the process, and its TLS objects, are no more.
fn leave(thread: u64) {
    let _ = VERDICTS.remove(&((thread >> 32) as u32));
    connection::process_ended(thread);
    goroutine::process_ended((thread >> 32) as u32);
}
