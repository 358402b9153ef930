//! What every record begins with, written where it is to lie.

use core::mem::size_of;

use aya_ebpf::helpers::{bpf_ktime_get_ns, generated::bpf_get_current_comm};
use tlstap_ebpf::{COMM_LEN, RecordHeader};

/// What a record says, besides who says it and when.
#[derive(Clone, Copy, Default)]
pub(super) struct Told {
    pub(super) kind: u8,
    pub(super) direction: u8,
    pub(super) function: u8,
    pub(super) loss: u8,
    pub(super) len: u32,
    pub(super) offset: u64,
    pub(super) call_len: u64,
    /// When the call was entered; 0 when that says nothing else than when the record was made.
    pub(super) entered: u64,
    pub(super) library: u32,
}

/// Writes a header to where it is to lie: on the stack there is no room for another. Each field for itself,
/// or the compiler would call a function that clears bytes one by one.
///
/// # Safety
///
/// `target` can be written to, and is 8 bytes aligned.
#[inline(always)]
pub(super) unsafe fn write_header(
    target: *mut RecordHeader,
    thread: u64,
    object: u64,
    birth: u64,
    told: Told,
) {
    let Told { kind, direction, function, loss, len, offset, call_len, entered, library } = told;
    // SAFETY: see the caller's. The helpers have no arguments, or fill all of a name, with NUL behind
    // it, and do not fail for a buffer.
    unsafe {
        let now = bpf_ktime_get_ns();
        let entered = if entered == 0 { now } else { entered };
        (&raw mut (*target).kind).write_volatile(kind);
        (&raw mut (*target).direction).write_volatile(direction);
        (&raw mut (*target).function).write_volatile(function);
        (&raw mut (*target).loss).write_volatile(loss);
        (&raw mut (*target).len).write_volatile(len);
        (&raw mut (*target).tgid).write_volatile((thread >> 32) as u32);
        (&raw mut (*target).tid).write_volatile(thread as u32);
        (&raw mut (*target).object).write_volatile(object);
        (&raw mut (*target).birth).write_volatile(birth);
        (&raw mut (*target).offset).write_volatile(offset);
        (&raw mut (*target).call_len).write_volatile(call_len);
        (&raw mut (*target).entered).write_volatile(entered);
        (&raw mut (*target).returned).write_volatile(now);
        (&raw mut (*target).library).write_volatile(library);
        (&raw mut (*target).chunk).write_volatile(0);
        bpf_get_current_comm((&raw mut (*target).comm).cast(), COMM_LEN as u32);
    }
}

/// Copies a header in words: the compiler would call a function that copies bytes one by one, which
/// takes longer than all else that is done for a record.
///
/// # Safety
///
/// `target` can be written to, and is 8 bytes aligned.
#[inline(always)]
pub(super) unsafe fn copy_header(target: *mut RecordHeader, header: &RecordHeader) {
    const WORDS: usize = size_of::<RecordHeader>() / size_of::<u64>();
    const { assert!(WORDS * size_of::<u64>() == size_of::<RecordHeader>()) };
    let (target, source) = (target.cast::<u64>(), (&raw const *header).cast::<u64>());
    for word in 0..WORDS {
        // SAFETY: both are so many words long, without padding between the fields; see the caller's.
        unsafe { target.add(word).write_volatile(source.add(word).read_volatile()) };
    }
}
