//! How much of a call is copied: what the limits of the agent, and the others, leave of it.
//!
//! Comes in: how many bytes a call moved. Goes out: how many of them are copied, and why no more.
//! The agent decides by one element of an array ([`tlstap_ebpf::level`]); the bytes of each process
//! in a second are counted here.

use aya_ebpf::{
    Global,
    bindings::{BPF_NOEXIST, BPF_RB_AVAIL_DATA, BPF_RB_CONS_POS},
    helpers::bpf_ktime_get_ns,
    macros::map,
    maps::{Array, LruHashMap},
};
use tlstap_ebpf::{
    CLASS_CAPACITY, Fill, HEAD_BYTES, RecordHeader, Share, is_crowded, is_sampled, level, loss,
};

use crate::emit::RECORDS;

/// Most bytes copied from one call; the agent sets it before loading.
#[unsafe(no_mangle)]
static MAX_CALL_BYTES: Global<u64> = Global::new(4 << 20);

/// Most bytes copied from one process in a second, below 2^34; 0 when there is no limit. The agent
/// sets it before loading.
#[unsafe(no_mangle)]
static MAX_RATE: Global<u64> = Global::new(0);

/// One element: see [`level`].
#[map]
static LEVEL: Array<u64> = Array::with_max_entries(1, 0);

/// One element: calls that were entered before this time ended unseen, since the probes were off.
#[map]
static SINCE: Array<u64> = Array::with_max_entries(1, 0);

/// By process: the time up to which its bytes are paid for. It grows by what the bytes that are
/// copied take at the limit's rate, and is never more than a second behind. The agent sizes it before
/// loading.
#[map]
static PAID: LruHashMap<u32, u64> = LruHashMap::with_max_entries(16_384, 0);

/// Bytes of the ring, a power of two; the agent sets it before loading.
#[unsafe(no_mangle)]
static RING_BYTES: Global<u64> = Global::new(8 << 20);

/// By process: what it has in the ring, while that is crowded.
#[map]
static SHARES: LruHashMap<u32, Share> = LruHashMap::with_max_entries(4_096, 0);

/// What a record takes up beside its bytes, with the ring's own header.
const BESIDE: u64 = (size_of::<RecordHeader>() + 8) as u64;
/// The fewest bytes that a record has room for.
const LEAST: u64 = CLASS_CAPACITY[0] as u64;

const SECOND: u64 = 1_000_000_000;

/// How many bytes of a call are copied, and the [`loss`] of the others: in one word, which a function
/// can return.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Allowance(u64);

impl Allowance {
    /// The reason is in the highest byte: no call moves so much.
    const SHIFT: u32 = 56;

    #[inline(always)]
    const fn new(bytes: u64, reason: u8) -> Self {
        Self(bytes & ((1 << Self::SHIFT) - 1) | (reason as u64) << Self::SHIFT)
    }

    #[inline(always)]
    pub(crate) const fn bytes(self) -> u64 {
        self.0 & ((1 << Self::SHIFT) - 1)
    }

    #[inline(always)]
    pub(crate) const fn reason(self) -> u8 {
        (self.0 >> Self::SHIFT) as u8
    }

    #[inline(always)]
    fn at_most(self, bytes: u64, reason: u8) -> Self {
        if self.bytes() > bytes { Self::new(bytes, reason) } else { self }
    }

    /// Whether no record need be made of the call: the next one of its connection says what is missing.
    #[inline(always)]
    pub(crate) fn is_nothing(self) -> bool {
        match self.reason() {
            loss::SAMPLED | loss::DETACHED => true,
            loss::RING_FULL => self.bytes() == 0,
            _ => false,
        }
    }
}

/// What is copied of a call that moved so many bytes. Not a part of its callers, on whose stack there is
/// no room; see [`crate::emit::call`].
#[inline(never)]
pub(crate) fn allowance(tgid: u32, moved: u64) -> Allowance {
    let whole = Allowance::new(moved, loss::NONE);
    let mut allowed = whole.at_most(MAX_CALL_BYTES.load(), loss::LIMIT);
    let level = LEVEL.get(0).copied().unwrap_or_default();
    if level != level::FULL {
        allowed = if level == level::NONE {
            Allowance::new(0, loss::DETACHED)
        } else if level == level::SAMPLED && !is_sampled(tgid) {
            Allowance::new(0, loss::SAMPLED)
        } else {
            allowed.at_most(HEAD_BYTES, loss::REDUCED)
        };
    }
    let unread = RECORDS.query(u64::from(BPF_RB_AVAIL_DATA));
    if is_crowded(unread, RING_BYTES.load()) && allowed.bytes() != 0 {
        allowed = allowed.at_most(share(tgid, unread, allowed.bytes()), loss::RING_FULL);
    }
    if MAX_RATE.load() != 0 && allowed.bytes() != 0 {
        allowed = allowed.at_most(take(tgid, allowed.bytes()), loss::RATE_LIMITED);
    }
    allowed
}

/// How many of so many bytes the process may put into the crowded ring.
#[inline(always)]
fn share(tgid: u32, unread: u64, wanted: u64) -> u64 {
    let read = RECORDS.query(u64::from(BPF_RB_CONS_POS));
    let fill = Fill { capacity: RING_BYTES.load(), written: read + unread, read };
    if SHARES.get_ptr_mut(&tgid).is_none() {
        // Another thread may be first.
        let _ = SHARES.insert(&tgid, &Share::new(fill), u64::from(BPF_NOEXIST));
    }
    let Some(share) = SHARES.get_ptr_mut(&tgid) else { return 0 };
    let whole = BESIDE + if wanted < LEAST { LEAST } else { wanted };
    // SAFETY: a map value stays valid while the program runs, and is aligned. Of two threads that do so
    // at the same time one may not be counted.
    unsafe { (*share).take(fill, whole) }.saturating_sub(BESIDE)
}

/// Whether the probes were off for some time since then: a call of then ended unseen.
#[inline(always)]
pub(crate) fn is_past(time: u64) -> bool {
    time < SINCE.get(0).copied().unwrap_or_default()
}

/// Takes up to so many bytes from what the process may have copied now, and gives how many those are.
///
/// A process that has used up less saves a second's worth at most. Of two threads that do so within the
/// same nanoseconds one may not pay: BPF has no atomic operation that Rust would make of it.
#[inline(always)]
fn take(tgid: u32, wanted: u64) -> u64 {
    let rate = MAX_RATE.load();
    // SAFETY: plain helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() };
    let oldest = now.saturating_sub(SECOND);
    let Some(paid) = paid(tgid, oldest) else { return 0 };
    // SAFETY: a map value stays valid while the program runs, and is aligned.
    let until = unsafe { paid.read_volatile() };
    let until = if until < oldest { oldest } else { until };
    if rate == 0 || until >= now {
        return 0;
    }
    // Less than 2^64: a second at most, and see `MAX_RATE`.
    let room = (now - until) * rate / SECOND;
    let taken = if wanted < room { wanted } else { room };
    // SAFETY: as above.
    unsafe { paid.write_volatile(until + taken * SECOND / rate) };
    taken
}

#[inline(always)]
fn paid(tgid: u32, oldest: u64) -> Option<*mut u64> {
    if let Some(paid) = PAID.get_ptr_mut(&tgid) {
        return Some(paid);
    }
    // Another thread may be first.
    let _ = PAID.insert(&tgid, &oldest, u64::from(BPF_NOEXIST));
    PAID.get_ptr_mut(&tgid)
}
