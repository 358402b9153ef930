//! The bytes of a file that a container may have written, within bounds: so much is kept of it, so
//! much is read of it, whatever its headers claim.
//!
//! What is looked at again and again is kept, as slices that live as long as the source. Tables that
//! are gone through once are read in windows, which keep nothing.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::FileExt as _,
    rc::Rc,
};

use object::read::{ReadCache, ReadRef};

/// Most bytes that are kept, with what is made of them. With what the agent needs anyhow, no file
/// takes 64 MiB.
pub(super) const MAX_KEPT: u64 = 48 << 20;

/// Most bytes that are read of a file: the tables and strings of the largest programs have less.
const MAX_READ: u64 = 384 << 20;

/// What a kept read takes beside its bytes.
const ENTRY: u64 = 96;

/// Bytes of a window.
pub(super) const WINDOW: usize = 256 << 10;

/// An open file, or bytes that were unpacked from one.
pub(crate) struct Source {
    bytes: Rc<Bytes>,
    kept: ReadCache<Reader>,
    /// What is kept by [`ReadCache`], which keeps a range once.
    ranges: RefCell<HashSet<(u64, u64)>>,
}

impl Source {
    pub(crate) fn new(file: File) -> Self {
        let len = file.metadata().map_or(0, |meta| meta.len());
        Self::of(Origin::File(file), len, Rc::default())
    }

    /// A file that belongs to another one, and counts as a part of it.
    pub(super) fn beside(file: File, other: &Self) -> Self {
        let len = file.metadata().map_or(0, |meta| meta.len());
        Self::of(Origin::File(file), len, Rc::clone(&other.bytes.counts))
    }

    /// Bytes that were unpacked from another file; they count as kept. `None` when that is too much.
    pub(super) fn unpacked(bytes: Vec<u8>, other: &Self) -> Option<Self> {
        let len = bytes.len() as u64;
        other.keep(len)?;
        Some(Self::of(Origin::Memory(bytes), len, Rc::clone(&other.bytes.counts)))
    }

    fn of(origin: Origin, len: u64, counts: Rc<Counts>) -> Self {
        let bytes = Rc::new(Bytes { origin, len, counts });
        let reader = Reader { bytes: Rc::clone(&bytes), range: 0..len };
        Self { bytes, kept: ReadCache::new(reader), ranges: RefCell::default() }
    }

    /// Reads a part of the file, from its beginning to its end.
    pub(super) fn reader(&self, part: Range<u64>) -> impl Read {
        Reader { bytes: Rc::clone(&self.bytes), range: part }
    }

    /// Bytes.
    pub(crate) fn len(&self) -> u64 {
        self.bytes.len
    }

    /// Counts bytes that are made of the file and stay. `None` when that is too much.
    #[must_use]
    pub(super) fn keep(&self, bytes: u64) -> Option<()> {
        let kept =
            self.bytes.counts.kept.get().checked_add(bytes).filter(|&kept| kept <= MAX_KEPT)?;
        self.bytes.counts.kept.set(kept);
        Some(())
    }

    /// Bytes that were read so far.
    #[cfg(test)]
    pub(crate) fn bytes_read(&self) -> u64 {
        self.bytes.counts.read.get()
    }

    /// Bytes that are kept.
    #[cfg(test)]
    pub(crate) fn bytes_kept(&self) -> u64 {
        self.bytes.counts.kept.get()
    }

    /// Fills a buffer from an offset on.
    pub(crate) fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.bytes.fill(buffer, offset)
    }

    /// Looks through a part of the file, window after window, until something is found. Each window
    /// begins with the last `overlap` bytes of the one before, and its offset is given too.
    pub(super) fn windows<T>(
        &self,
        part: Range<u64>,
        overlap: usize,
        mut look: impl FnMut(u64, &[u8]) -> Option<T>,
    ) -> io::Result<Option<T>> {
        if part.start > part.end || part.end > self.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut buffer = Vec::with_capacity(WINDOW + overlap);
        let mut at = part.start;
        while at < part.end {
            let keep = buffer.len().saturating_sub(overlap);
            buffer.drain(..keep);
            let carried = buffer.len();
            let step = usize::try_from(part.end - at).unwrap_or(WINDOW).min(WINDOW);
            buffer.resize(carried + step, 0);
            self.fill(buffer.get_mut(carried..).unwrap_or_default(), at)?;
            if let Some(found) = look(at - carried as u64, &buffer) {
                return Ok(Some(found));
            }
            at += step as u64;
        }
        Ok(None)
    }
}

impl<'d> ReadRef<'d> for &'d Source {
    fn len(self) -> Result<u64, ()> {
        Ok(self.bytes.len)
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'d [u8], ()> {
        if offset.checked_add(size).is_none_or(|end| end > self.bytes.len) {
            return Err(());
        }
        if !self.ranges.borrow().contains(&(offset, size)) {
            self.keep(size.saturating_add(ENTRY)).ok_or(())?;
            self.ranges.borrow_mut().insert((offset, size));
        }
        self.kept.read_bytes_at(offset, size)
    }

    /// No part of ELF that is looked at needs it.
    fn read_bytes_at_until(self, _: Range<u64>, _: u8) -> Result<&'d [u8], ()> {
        Err(())
    }
}

enum Origin {
    File(File),
    Memory(Vec<u8>),
}

struct Bytes {
    origin: Origin,
    len: u64,
    counts: Rc<Counts>,
}

/// Bytes, of a file and what belongs to it.
#[derive(Default)]
struct Counts {
    read: Cell<u64>,
    kept: Cell<u64>,
}

impl Bytes {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let read = self.counts.read.get().saturating_add(buffer.len() as u64);
        if read > MAX_READ {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.counts.read.set(read);
        match &self.origin {
            Origin::File(file) => file.read_exact_at(buffer, offset),
            Origin::Memory(bytes) => {
                let rest = usize::try_from(offset).ok().and_then(|start| bytes.get(start..));
                let part = rest.and_then(|rest| rest.get(..buffer.len()));
                buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}

/// A part of the file that is read in order.
struct Reader {
    bytes: Rc<Bytes>,
    /// What was not read yet.
    range: Range<u64>,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.range.end.saturating_sub(self.range.start));
        let count = buffer.len().min(left.unwrap_or(usize::MAX));
        self.bytes.fill(buffer.get_mut(..count).unwrap_or_default(), self.range.start)?;
        self.range.start += count as u64;
        Ok(count)
    }
}

/// What [`ReadCache`] needs.
impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match to {
            SeekFrom::Start(start) => self.range.start = start,
            SeekFrom::End(0) => self.range.start = self.range.end,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        }
        Ok(self.range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap() {
        let bytes: Vec<u8> = (0..3 * WINDOW).map(|at| at.to_le_bytes()[1]).collect();
        let source = Source::unpacked(bytes.clone(), &Source::new(tempfile::tempfile().unwrap()));
        let source = source.unwrap();
        let mut seen = Vec::new();
        let none: Option<()> = source
            .windows(10..bytes.len() as u64, 7, |at, window| {
                let start = usize::try_from(at).unwrap();
                assert_eq!(window, &bytes[start..start + window.len()]);
                seen.push(start..start + window.len());
                None
            })
            .unwrap();
        assert_eq!(none, None);
        assert_eq!(seen.first().map(|first| first.start), Some(10));
        assert_eq!(seen.last().map(|last| last.end), Some(bytes.len()));
        assert!(seen.windows(2).all(|pair| pair[0].end == pair[1].start + 7), "{seen:?}");
        assert!(source.windows(0..bytes.len() as u64 + 1, 0, |_, _| Some(())).is_err());
    }

    #[test]
    fn keeps_a_range_once_and_not_too_much() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(10 << 30).unwrap();
        let source = Source::new(file);
        for _ in 0..100 {
            assert_eq!((&source).read_bytes_at(1 << 30, 40 << 20).unwrap().len(), 40 << 20);
        }
        assert_eq!(source.bytes_read(), 40 << 20);
        assert!((&source).read_bytes_at(0, 10 << 20).is_err());
        assert!((&source).read_bytes_at(10 << 30, 1).is_err());
        assert!((&source).read_bytes_at(u64::MAX, 2).is_err());
        assert!((&source).read_bytes_at(0, 1 << 20).is_ok());
        // A part of a terabyte is not read to its end.
        assert!(source.windows(0..10 << 30, 0, |_, _| None::<()>).is_err());
        assert!(source.bytes_read() <= MAX_READ);
    }
}
