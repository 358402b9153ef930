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

/// Where and when a call was looked at near its end, through the probes of which library.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Ended {
    pub(crate) time: u64,
    pub(crate) stack: u64,
    pub(crate) object: u64,
    pub(crate) library: u32,
    /// Whether it was told, for it was not told through another library's probes.
    pub(crate) told: u32,
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
    /// Notes that a call was looked at near its end. Whether it is to be told.
    ///
    /// A file can be probed twice for some time: when it has changed, or when it was seen in an overlay
    /// first whose layers could not be looked into. Then each call is looked at twice, one right after
    /// the other, and once by each.
    pub(crate) fn ends(&mut self, mut ended: Ended) -> bool {
        /// In nanoseconds: longer than between the two, unless the thread loses its processor there, and
        /// shorter than it takes to put probes in place.
        const AT_ONCE: u64 = 200_000;
        let last = &self.ended;
        let again = last.told != 0
            && last.library != ended.library
            && (last.stack, last.object) == (ended.stack, ended.object)
            && ended.time - last.time < AT_ONCE;
        ended.told = u32::from(!again);
        self.ended = ended;
        !again
    }

    /// Forgets all: it is another program now.
    pub(crate) fn forget(&mut self) {
        self.outer.stack = 0;
        self.inner.stack = 0;
        self.began = 0;
        self.bound = 0;
        self.ended.told = 0;
    }
}
