//! What is kept of a thread, in the thread's own storage (`BPF_MAP_TYPE_TASK_STORAGE`, Linux 5.11):
//! it is found faster than in a hash, has no bound to run against, and ends with the thread.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{
        BPF_F_NO_PREALLOC, BPF_LOCAL_STORAGE_GET_F_CREATE, bpf_map_type::BPF_MAP_TYPE_TASK_STORAGE,
    },
    helpers::generated::{bpf_get_current_task_btf, bpf_task_storage_get},
};

use crate::call::Call;

/// A thread that has made TLS calls. All zeroes at first.
#[repr(C)]
pub(crate) struct Thread {
    /// The call that it is in.
    pub(crate) outer: Call,
    /// The call inside that one, on another object.
    pub(crate) inner: Call,
    /// Since when its process has had connections, or 0 where that was not looked up yet.
    pub(crate) began: u64,
    /// A TLS object of which the agent knows the socket, as long as `generation` is that of all.
    pub(crate) bound: u64,
    pub(crate) generation: u64,
    /// The last call that was looked at near its end.
    ended: Ended,
}

/// The last call that was looked at near its end.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Ended {
    time: u64,
    stack: u64,
    object: u64,
    /// The library whose probes were hit.
    library: u32,
    pad: u32,
}

/// A map whose values live with the tasks that they are of. aya-ebpf has no such type; the fields
/// are those that a loader looks for (libbpf's `__uint` and `__type`).
#[repr(C)]
struct TaskStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_TASK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; BPF_F_NO_PREALLOC as usize],
}

// SAFETY: nothing is ever read from it; its address names the map.
unsafe impl<T> Sync for TaskStorage<T> {}

#[unsafe(link_section = ".maps")]
#[unsafe(export_name = "TASKS")]
static TASKS: TaskStorage<Thread> = TaskStorage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// The calling thread, if it has made TLS calls.
#[inline(always)]
pub(crate) fn known() -> Option<&'static mut Thread> {
    storage(0)
}

/// The calling thread. `None`: there is no memory, or the kernel was interrupted where it gave some
/// to another thread on this processor.
#[inline(always)]
pub(crate) fn current() -> Option<&'static mut Thread> {
    storage(u64::from(BPF_LOCAL_STORAGE_GET_F_CREATE))
}

#[inline(always)]
fn storage(flags: u64) -> Option<&'static mut Thread> {
    let map = (&raw const TASKS).cast_mut().cast::<c_void>();
    // SAFETY: the task is this one, and its storage stays while a program runs for it. No other
    // task looks at it, and no program is interrupted by one of the same task.
    unsafe {
        let task = bpf_get_current_task_btf();
        bpf_task_storage_get(map, task, ptr::null_mut(), flags).cast::<Thread>().as_mut()
    }
}

impl Thread {
    /// A call is looked at near its end, at this time, through the probes of a library. Whether it is
    /// to be told.
    ///
    /// A file can be probed more than once for some time: when it has changed, or when it was seen in an
    /// overlay first whose layers could not be looked into. Then each call is looked at by all of them,
    /// one right after the other: what was put there last comes first (`consumer_add`,
    /// kernel/events/uprobes.c), and has the highest number. That one tells it; it is also the last
    /// to be taken away.
    pub(crate) fn ends(&mut self, time: u64, stack: u64, object: u64, library: u32) -> bool {
        /// In nanoseconds: longer than between two of them, also when the thread loses its processor
        /// there.
        const AT_ONCE: u64 = 1_000_000_000;
        let last = &self.ended;
        let again = library < last.library
            && (last.stack, last.object) == (stack, object)
            && time - last.time < AT_ONCE;
        self.ended = Ended { time, stack, object, library, pad: 0 };
        !again
    }

    /// Forgets all: it is another program now.
    pub(crate) fn forget(&mut self) {
        self.outer.stack = 0;
        self.inner.stack = 0;
        self.began = 0;
        self.bound = 0;
        self.ended.library = 0;
    }
}
