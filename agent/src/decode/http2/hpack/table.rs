//! The dynamic table (RFC 7541, section 2.3.2), of which only the newest entries may be known.
//!
//! An index counts from the newest entry, so the entries inserted since the agent came are found
//! whatever was there before. What lies behind them is unknown, until it must have been evicted.
//! Eviction never changes what an index means; it only says which entries need not be kept.

use std::collections::VecDeque;

use bytes::Bytes;

/// RFC 7541, section 4.1: "The size of an entry is the sum of its name's length in octets […], its
/// value's length in octets […], and 32."
const OVERHEAD: usize = 32;

/// RFC 9113, section 6.5.2: "The initial value is 4,096 octets."
const INITIAL_SIZE: usize = 4096;

/// More is not kept, whatever the peers agree upon: older entries are unknown then.
const KEPT_SIZE: usize = 64 << 10;

/// A header field; what refers to an unknown entry is absent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Option<Bytes>,
    pub(super) value: Option<Bytes>,
}

impl Field {
    fn size(&self) -> usize {
        size(self.name.as_deref(), self.value.as_deref())
    }
}

/// What a field takes in the table at least: exactly that, if all of it is known.
pub(super) fn size(name: Option<&[u8]>, value: Option<&[u8]>) -> usize {
    name.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + OVERHEAD
}

/// What an index refers to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Entry(&'a Field),
    /// An entry from before the agent came.
    Unknown,
    /// There is no such entry.
    Nothing,
}

#[derive(Debug)]
pub(super) struct Table {
    /// The newest first.
    entries: VecDeque<Field>,
    /// The sum of their sizes, at least.
    size: usize,
    /// `None` when the encoder may have chosen one before the agent came.
    max_size: Option<usize>,
    /// Whether there may be older entries than those that are known.
    past: bool,
}

impl Table {
    /// The table at the beginning of a connection.
    pub(super) const fn initial() -> Self {
        Self { entries: VecDeque::new(), size: 0, max_size: Some(INITIAL_SIZE), past: false }
    }

    /// A table of which nothing is known.
    pub(super) const fn unknown() -> Self {
        Self { entries: VecDeque::new(), size: 0, max_size: None, past: true }
    }

    /// The entry with this index, which is 1 for the newest.
    pub(super) fn find(&self, index: usize) -> Found<'_> {
        match index.checked_sub(1).and_then(|place| self.entries.get(place)) {
            Some(field) => Found::Entry(field),
            None if self.past && index > 0 => Found::Unknown,
            None => Found::Nothing,
        }
    }

    /// RFC 7541, section 4.4: "an attempt to add an entry larger than the maximum size causes the
    /// table to be emptied of all existing entries and results in an empty table."
    ///
    /// Where the maximum, or the entry's size, is not known, it is taken as added. If it was not,
    /// an index behind it would refer to nothing, which no encoder does.
    pub(super) fn insert(&mut self, field: Field) {
        let size = field.size();
        if self.max_size.is_some_and(|max_size| size > max_size) {
            self.clear();
            return;
        }
        self.size += size;
        self.entries.push_front(field);
        self.evict();
    }

    /// RFC 7541, section 6.3.
    pub(super) fn resize(&mut self, max_size: usize) {
        self.max_size = Some(max_size);
        self.evict();
    }

    fn clear(&mut self) {
        self.entries = VecDeque::new();
        self.size = 0;
        self.past = false;
    }

    fn evict(&mut self) {
        let max_size = self.max_size.unwrap_or(usize::MAX);
        while self.size > max_size.min(KEPT_SIZE) {
            // What the peers still have and is not kept becomes the unknown past.
            self.past |= self.size <= max_size;
            let Some(oldest) = self.entries.pop_back() else { break };
            self.size -= oldest.size();
        }
        // Where not even the smallest entry fits behind the known ones, there is none.
        if self.size + OVERHEAD > max_size {
            self.past = false;
        }
    }

    /// How much memory the entries take.
    pub(super) fn weight(&self) -> usize {
        self.size + self.entries.len() * size_of::<Field>()
    }
}
