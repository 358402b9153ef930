//! The functions that a file names, as far as anybody asks for them: each table is gone through once,
//! for all families of libraries, and neither it nor its strings are kept.

mod vocabulary;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
};

pub(crate) use vocabulary::Vocabulary;

use super::{Method, source::Source};
use vocabulary::Places;

/// Most symbols of a file, of both tables: a Chromium with all of them has half as many.
const MAX_SYMBOLS: u64 = 2 << 20;
/// Bytes of an entry (`Elf64_Sym`).
const ENTRY: usize = 24;

/// A function that the file defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symbol<'d> {
    pub(crate) name: &'d [u8],
    pub(crate) address: u64,
    /// Bytes; 0 where the file does not say.
    pub(crate) size: u64,
    pub(crate) method: Method,
}

/// Where a table of symbols lies in a file, and its strings.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) symbols: Range<u64>,
    pub(crate) strings: Range<u64>,
    pub(crate) method: Method,
}

/// What is known of the functions of a file.
#[derive(Default)]
pub(crate) struct Symbols {
    named: HashMap<&'static str, Symbol<'static>>,
    with_ending: Vec<(Box<[u8]>, u64)>,
    /// Where functions begin, those without a name that is looked for too; in order.
    starts: Vec<u64>,
}

impl Symbols {
    /// The functions of these tables; what stands in several is as the first one says.
    pub(crate) fn of(vocabulary: &Vocabulary, source: &Source, tables: &[Table]) -> Self {
        let mut found = Self::default();
        for table in tables {
            // A table that is beyond the bounds names nothing; the other one may.
            let _ = found.add(vocabulary, source, table);
        }
        found.starts.sort_unstable();
        found.starts.dedup();
        found
    }

    /// Functions that somebody else names.
    pub(crate) fn given(symbols: impl Iterator<Item = Symbol<'static>>) -> Self {
        let named =
            |symbol: Symbol<'static>| Some((std::str::from_utf8(symbol.name).ok()?, symbol));
        let named: HashMap<_, _> = symbols.filter_map(named).collect();
        let mut starts: Vec<_> = named.values().map(|symbol| symbol.address).collect();
        starts.sort_unstable();
        Self { named, starts, ..Self::default() }
    }

    /// Adds what others know. What is known to both is as it was.
    pub(crate) fn merge(&mut self, others: Self) {
        for (name, symbol) in others.named {
            self.named.entry(name).or_insert(symbol);
        }
        let known: HashSet<_> = self.with_ending.iter().map(|(name, _)| name.clone()).collect();
        let new = others.with_ending.into_iter().filter(|(name, _)| !known.contains(name));
        self.with_ending.extend(new);
        self.starts.extend(others.starts);
        self.starts.sort_unstable();
        self.starts.dedup();
    }

    /// Whether any function has one of the names of the vocabulary.
    pub(crate) fn names_any(&self) -> bool {
        !self.named.is_empty()
    }

    /// Where the functions are that have names.
    pub(crate) fn addresses(&self) -> BTreeSet<u64> {
        let named = self.named.values().map(|symbol| symbol.address);
        named.chain(self.with_ending.iter().map(|(_, address)| *address)).collect()
    }

    /// Leaves out what is at none of these addresses; the others have so many bytes, if that is not
    /// known. How many are left out.
    pub(crate) fn prove(&mut self, functions: &BTreeMap<u64, u64>) -> usize {
        let count = |own: &Self| own.named.len() + own.with_ending.len();
        let before = count(self);
        self.named.retain(|_, symbol| match functions.get(&symbol.address) {
            Some(&size) if symbol.size == 0 => {
                symbol.size = size;
                true
            }
            known => known.is_some(),
        });
        self.with_ending.retain(|(_, address)| functions.contains_key(address));
        before - count(self)
    }

    /// The function of this name, which is one of the vocabulary.
    pub(crate) fn named(&self, name: &str) -> Option<Symbol<'static>> {
        self.named.get(name).copied()
    }

    /// The names of functions with an ending of the vocabulary, and their addresses.
    pub(crate) fn ending<'s>(&'s self, ending: &'s str) -> impl Iterator<Item = (&'s [u8], u64)> {
        self.with_ending
            .iter()
            .map(|(name, address)| (name.as_ref(), *address))
            .filter(|(name, _)| name.ends_with(ending.as_bytes()))
    }

    /// Whether a function begins at one of these addresses.
    pub(crate) fn begin_in(&self, addresses: &Range<u64>) -> bool {
        let first = self.starts.partition_point(|start| *start < addresses.start);
        self.starts.get(first).is_some_and(|start| addresses.contains(start))
    }

    fn add(&mut self, vocabulary: &Vocabulary, source: &Source, table: &Table) -> Option<()> {
        let Table { symbols, strings, method } = table.clone();
        let count = symbols.end.checked_sub(symbols.start)? / ENTRY as u64;
        let all = count.checked_add(self.starts.len() as u64)?;
        if all > MAX_SYMBOLS || symbols.end > source.len() || strings.end > source.len() {
            return None;
        }
        let places = vocabulary.places(source, strings)?;
        source.keep(count * size_of::<u64>() as u64)?;
        self.starts.reserve_exact(usize::try_from(count).ok()?);
        let mut known: HashSet<Box<[u8]>> =
            self.with_ending.iter().map(|(name, _)| name.clone()).collect();
        let end = symbols.start + count * ENTRY as u64;
        let add = |entry: &[u8]| self.add_entry(entry, &places, &mut known, method);
        entries(source, symbols.start..end, add)
    }

    fn add_entry(
        &mut self,
        entry: &[u8],
        places: &Places,
        known: &mut HashSet<Box<[u8]>>,
        method: Method,
    ) {
        let Some(Entry { name: place, address, size }) = Entry::of_function(entry) else { return };
        self.starts.push(address);
        if let Some(&name) = places.names.get(&place) {
            let symbol = Symbol { name: name.as_bytes(), address, size, method };
            // A symbol may stand there in several versions.
            self.named.entry(name).or_insert(symbol);
        } else if let Some(name) = places.with_ending(place)
            && known.insert(name.into())
        {
            self.with_ending.push((name.into(), address));
        }
    }
}

/// A function with a name that is only known in part.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) name: Box<[u8]>,
    pub(crate) address: u64,
    /// Bytes; 0 where the file does not say.
    pub(crate) size: u64,
    pub(crate) method: Method,
}

/// Longest name that is found by a part of it, bytes; mangled ones are long.
const MAX_LONG_NAME: usize = 1024;
/// Most of them.
const MAX_FOUND: usize = 4096;

/// The functions of a table whose names contain these bytes. `None` when there are too many, or the table
/// is beyond the bounds.
pub(crate) fn containing(source: &Source, table: &Table, part: &[u8]) -> Option<Vec<Found>> {
    let Table { symbols, strings, method } = table.clone();
    let finder = memchr::memmem::Finder::new(part);
    let mut names: HashMap<u64, Box<[u8]>> = HashMap::new();
    let first = strings.start;
    let too_many = source.windows(strings, 2 * MAX_LONG_NAME, |at, window| {
        for found in finder.find_iter(window) {
            let from = found.saturating_sub(MAX_LONG_NAME);
            let near = window.get(from..window.len().min(found + MAX_LONG_NAME))?;
            let (before, behind) = near.split_at_checked(found - from)?;
            // The table itself begins with a NUL. What is not whole here is in another window, or too long.
            let Some(zero) = memchr::memrchr(0, before) else { continue };
            let Some(length) = memchr::memchr(0, behind) else { continue };
            let begin = from + zero + 1;
            let name = window.get(begin..found + length).unwrap_or_default();
            names.insert(at - first + begin as u64, name.into());
        }
        (names.len() > MAX_FOUND).then_some(())
    });
    if too_many.ok()?.is_some() || names.is_empty() {
        return None;
    }
    let mut all = Vec::new();
    let add = |entry: &[u8]| {
        if let Some(Entry { name, address, size }) = Entry::of_function(entry)
            && let Some(name) = names.get(&u64::from(name))
            && all.len() < MAX_FOUND
        {
            all.push(Found { name: name.clone(), address, size, method });
        }
    };
    entries(source, symbols, add)?;
    Some(all)
}

/// Gives each entry of a table.
fn entries(source: &Source, symbols: Range<u64>, mut each: impl FnMut(&[u8])) -> Option<()> {
    let mut rest: Vec<u8> = Vec::with_capacity(ENTRY);
    let all = source.windows(symbols, 0, |_, mut window| {
        if !rest.is_empty() {
            // An entry lies across the border of two windows.
            let (end, behind) = window.split_at_checked(ENTRY - rest.len())?;
            rest.extend_from_slice(end);
            each(&rest);
            window = behind;
        }
        let chunks = window.chunks_exact(ENTRY);
        rest = chunks.remainder().to_vec();
        chunks.for_each(&mut each);
        None::<()>
    });
    all.is_ok().then_some(())
}

/// What is read of an `Elf64_Sym`.
struct Entry {
    name: u32,
    address: u64,
    size: u64,
}

impl Entry {
    /// A function that is defined; undefined ones are those of other files.
    fn of_function(entry: &[u8]) -> Option<Self> {
        use object::elf::{SHN_UNDEF, STT_FUNC};

        let (name, entry) = entry.split_first_chunk()?;
        let (&[info, _], entry) = entry.split_first_chunk()?;
        let (section, entry) = entry.split_first_chunk()?;
        let (address, entry) = entry.split_first_chunk()?;
        let is_function = info & 0xf == STT_FUNC.0;
        (is_function && u16::from_le_bytes(*section) != SHN_UNDEF.0).then(|| Self {
            name: u32::from_le_bytes(*name),
            address: u64::from_le_bytes(*address),
            size: entry.first_chunk().map_or(0, |size| u64::from_le_bytes(*size)),
        })
    }
}

/// All functions in a table that is in hand.
#[cfg(test)]
pub(super) fn functions<'d>(
    symbols: &'d [u8],
    strings: &'d [u8],
    method: Method,
) -> impl Iterator<Item = Symbol<'d>> {
    symbols.chunks_exact(ENTRY).filter_map(Entry::of_function).map(move |entry| {
        let rest = strings.get(usize::try_from(entry.name).unwrap()..).unwrap();
        let name = rest.split(|&byte| byte == 0).next().unwrap();
        Symbol { name, address: entry.address, size: entry.size, method }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::source::WINDOW;

    /// The functions of a table with one symbol, whose name is at this place of the strings.
    fn symbols(strings: &[u8], name: usize) -> Symbols {
        let mut entry = [0; ENTRY];
        entry[..4].copy_from_slice(&u32::try_from(name).unwrap().to_le_bytes());
        // A function, in section 1.
        (entry[4], entry[6], entry[8]) = (2, 1, 0x40);
        let (count, bytes) = (strings.len() as u64, [strings, &entry].concat());
        let end = bytes.len() as u64;
        let empty = Source::new(tempfile::tempfile().unwrap());
        let source = Source::unpacked(bytes, &empty).unwrap();
        let table = Table { symbols: count..end, strings: 0..count, method: Method::Symtab };
        Symbols::of(&Vocabulary::new(["SSL_read"], &["_method"]), &source, &[table])
    }

    #[test]
    fn names_across_windows() {
        for border in [0, WINDOW, 2 * WINDOW] {
            for at in border.max(20) - 20..border + 20 {
                let strings = [&vec![b'x'; at.max(1) - 1], &b"\0SSL_read\0y\0"[..]].concat();
                let found = symbols(&strings, at.max(1)).named("SSL_read").unwrap();
                assert_eq!(found.address, 0x40);
                let strings = [&vec![b'x'; at.max(1) - 1], &b"\0TLS_method\0y\0"[..]].concat();
                let found = symbols(&strings, at.max(1));
                assert_eq!(found.ending("_method").next(), Some((&b"TLS_method"[..], 0x40)));
            }
        }
    }

    #[test]
    fn names_that_are_ends_of_others() {
        let strings = b"\0wolfSSL_read\0DTLS_method\0";
        assert!(symbols(strings, 1).named("SSL_read").is_none());
        assert!(symbols(strings, 5).named("SSL_read").is_some());
        for (at, name) in [(14, &b"DTLS_method"[..]), (15, b"TLS_method"), (18, b"_method")] {
            assert_eq!(symbols(strings, at).ending("_method").next(), Some((name, 0x40)));
        }
        for at in [13, 19, 25, 1000] {
            assert_eq!(symbols(strings, at).ending("_method").next(), None, "at {at}");
        }
    }
}
