//! The names that are looked for, and where in a table of strings they stand: all are searched for at
//! once, and a symbol is known by the place of its name.
//!
//! A linker may let a name be the end of another one (`SSL_read` in `wolfSSL_read`), so the ends of
//! strings are compared.

use std::{collections::HashMap, ops::Range};

use crate::resolve::source::Source;

/// Most bytes of the strings of a table.
const MAX_STRINGS: u64 = 96 << 20;
/// Most places at which names are found. A file with more has them to waste time.
const MAX_PLACES: usize = 1 << 16;
/// Longest name that is found, bytes.
const MAX_NAME: usize = 64;

/// The names that are looked for.
pub(crate) struct Vocabulary {
    /// By their last bytes.
    by_end: HashMap<[u8; END], Vec<Wanted>>,
    /// A bit for each hash of last bytes that names have: most strings have none of them.
    filter: Box<[bool; FILTER]>,
}

/// How many of its last bytes tell a name. All are longer.
const END: usize = 4;
const FILTER: usize = 1 << 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Name(&'static str),
    /// All names with this ending.
    Ending(&'static str),
}

impl Wanted {
    const fn text(self) -> &'static str {
        match self {
            Self::Name(text) | Self::Ending(text) => text,
        }
    }
}

impl Vocabulary {
    pub(crate) fn new(
        names: impl IntoIterator<Item = &'static str>,
        endings: &[&'static str],
    ) -> Self {
        let mut own = Self { by_end: HashMap::new(), filter: Box::new([false; FILTER]) };
        let names = names.into_iter().map(Wanted::Name);
        for wanted in names.chain(endings.iter().copied().map(Wanted::Ending)) {
            let text = wanted.text().as_bytes();
            let Some(end) = text.last_chunk().filter(|_| text.len() <= MAX_NAME) else { continue };
            let same = own.by_end.entry(*end).or_default();
            if !same.contains(&wanted) {
                same.push(wanted);
            }
            if let Some(bit) = own.filter.get_mut(slot(*end)) {
                *bit = true;
            }
        }
        own
    }

    /// A name, if it is one of those.
    pub(crate) fn known(&self, name: &str) -> Option<&'static str> {
        let same = name.as_bytes().last_chunk().and_then(|end| self.by_end.get(end))?;
        same.iter().find_map(|wanted| match wanted {
            Wanted::Name(known) => Some(*known).filter(|known| *known == name),
            Wanted::Ending(_) => None,
        })
    }

    /// Those that a string may end in.
    fn ends_of(&self, string: &[u8]) -> &[Wanted] {
        let Some(end) = string.last_chunk() else { return &[] };
        match self.filter.get(slot(*end)) {
            Some(true) => self.by_end.get(end).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }

    /// Where in a table of strings the names stand. `None` when that cannot be told.
    pub(super) fn places(&self, source: &Source, strings: Range<u64>) -> Option<Places> {
        if strings.end.checked_sub(strings.start)? > MAX_STRINGS {
            return None;
        }
        let mut places = Places::default();
        let start = strings.start;
        let too_many = source.windows(strings, MAX_NAME, |at, window| {
            // What ends in the bytes of the window before was found there.
            let carried = if at == start { 0 } else { MAX_NAME };
            let new = window.get(carried..).unwrap_or_default();
            for zero in memchr::memchr_iter(0, new) {
                let string = window.get(..carried + zero).unwrap_or_default();
                // Many empty strings are the hole of a sparse file.
                places.empty += usize::from(string.last().is_none_or(|byte| *byte == 0));
                for wanted in self.ends_of(string) {
                    places.add(*wanted, string, at - start);
                }
            }
            (places.count() > MAX_PLACES).then_some(())
        });
        places.endings.sort_unstable_by_key(|(range, _)| range.start);
        too_many.ok()?.is_none().then_some(places)
    }
}

fn slot(end: [u8; END]) -> usize {
    // Fibonacci hashing.
    let hash = u32::from_le_bytes(end).wrapping_mul(0x9e37_79b9);
    (hash >> (u32::BITS - FILTER.ilog2())) as usize
}

/// Where in a table of strings names stand, by their offset in it.
#[derive(Default)]
pub(super) struct Places {
    pub(super) names: HashMap<u32, &'static str>,
    /// A longer name with one of the endings, from where on it may be one of its own.
    endings: Vec<(Range<u32>, Box<[u8]>)>,
    /// Strings without a byte.
    empty: usize,
}

impl Places {
    fn count(&self) -> usize {
        self.names.len() + self.endings.len() + self.empty
    }

    /// Adds what is wanted, if the string ends in it. `at` is where in the table its first byte
    /// stands.
    fn add(&mut self, wanted: Wanted, string: &[u8], at: u64) {
        let text = wanted.text().as_bytes();
        let Some(before) = string.strip_suffix(text) else { return };
        let Ok(offset) = u32::try_from(at + before.len() as u64) else { return };
        match wanted {
            Wanted::Name(name) => {
                self.names.insert(offset, name);
            }
            Wanted::Ending(_) => {
                let begin = memchr::memrchr(0, before).map_or(0, |zero| zero + 1);
                let begin = begin.max(string.len().saturating_sub(MAX_NAME));
                let length = u32::try_from(before.len() - begin).unwrap_or(0);
                let name = string.get(begin..).unwrap_or_default();
                self.endings.push((offset.saturating_sub(length)..offset, name.into()));
            }
        }
    }

    /// The name at an offset, if it has one of the endings.
    pub(super) fn with_ending(&self, offset: u32) -> Option<&[u8]> {
        let after = self.endings.partition_point(|(range, _)| range.start <= offset);
        let (range, name) = self.endings.get(after.checked_sub(1)?)?;
        let inside = usize::try_from(offset - range.start).ok()?;
        (offset <= range.end).then(|| name.get(inside..))?
    }
}
