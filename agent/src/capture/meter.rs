//! What the reader of the ring tells of itself while it runs.

use std::{
    io,
    os::fd::BorrowedFd,
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use rustix::{
    mm::{MapFlags, ProtFlags, mmap, munmap},
    param::page_size,
};

use crate::heartbeat::Heartbeat;

/// Counted by the reader, read by whoever wants to know.
#[derive(Debug)]
pub struct Meter {
    positions: Positions,
    pub(super) heart: Arc<Heartbeat>,
    /// See [`Meter::peak`].
    peak: AtomicUsize,
    /// Chunks that found the queue full.
    pub(super) dropped: AtomicU64,
    /// Records that were not understood.
    pub(super) unreadable: AtomicU64,
}

impl Meter {
    pub(super) fn new(ring: BorrowedFd<'_>, heart: Arc<Heartbeat>) -> io::Result<Self> {
        Ok(Self {
            positions: Positions::of(ring)?,
            heart,
            peak: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            unreadable: AtomicU64::new(0),
        })
    }

    /// The reader begins to look into the ring.
    pub(super) fn look(&self) {
        self.heart.beat();
        self.peak.fetch_max(self.unread(), Ordering::Relaxed);
    }

    /// Bytes of the ring that nobody has read yet.
    pub fn unread(&self) -> usize {
        self.positions.unread()
    }

    /// The most that the reader found unread.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Chunks that found the queue full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Records that were not understood.
    pub fn unreadable(&self) -> u64 {
        self.unreadable.load(Ordering::Relaxed)
    }
}

/// How far the ring was written and read: the first word of its first and of its second page, which
/// the kernel shows to whoever has the map (kernel/bpf/ringbuf.c, `struct bpf_ringbuf`).
#[derive(Debug)]
struct Positions {
    pages: NonNull<AtomicUsize>,
    page: usize,
}

// SAFETY: the pages are read only, and only by atomic loads.
unsafe impl Send for Positions {}
// SAFETY: as above.
unsafe impl Sync for Positions {}

impl Positions {
    fn of(ring: BorrowedFd<'_>) -> io::Result<Self> {
        let page = page_size();
        // SAFETY: a new mapping, which overlaps with nothing.
        let pages =
            unsafe { mmap(ptr::null_mut(), 2 * page, ProtFlags::READ, MapFlags::SHARED, ring, 0)? };
        let pages = NonNull::new(pages.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { pages, page })
    }

    fn unread(&self) -> usize {
        // SAFETY: both words lie in the mapping, which lives as long as this does, at the
        // beginning of a page.
        let (read, written) =
            unsafe { (self.pages.as_ref(), self.pages.byte_add(self.page).as_ref()) };
        // In this order, so that the difference is never less than nothing.
        let read = read.load(Ordering::Acquire);
        written.load(Ordering::Acquire).wrapping_sub(read)
    }
}

impl Drop for Positions {
    fn drop(&mut self) {
        // SAFETY: the mapping that was made above, of which no reference is left.
        let _ = unsafe { munmap(self.pages.as_ptr().cast(), 2 * self.page) };
    }
}
