//! The functions that a file names, as far as anybody asks for them: each table is gone through once,
//! for all families of libraries, and neither it nor its strings are kept.
//!
//! The strings are searched first, for all names at once; then a symbol is known by where its name
//! stands. A linker may let a name be the end of another one (`SSL_read` in `wolfSSL_read`).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Range,
};

use super::{Method, source::Source};

/// Most symbols of a file, of both tables: a Chromium with all of them has half as many.
const MAX_SYMBOLS: u64 = 2 << 20;
/// Most bytes of the strings of a table.
const MAX_STRINGS: u64 = 96 << 20;
/// Most places at which names are found. A file with more has them to waste time.
const MAX_PLACES: usize = 1 << 16;
/// Longest name that is found, bytes.
const MAX_NAME: usize = 64;
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
    fn places(&self, source: &Source, strings: Range<u64>) -> Option<Places> {
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
struct Places {
    names: HashMap<u32, &'static str>,
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
    fn with_ending(&self, offset: u32) -> Option<&[u8]> {
        let after = self.endings.partition_point(|(range, _)| range.start <= offset);
        let (range, name) = self.endings.get(after.checked_sub(1)?)?;
        let inside = usize::try_from(offset - range.start).ok()?;
        (offset <= range.end).then(|| name.get(inside..))?
    }
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
        Self { named, with_ending: Vec::new(), starts }
    }

    /// Adds what others know. What is known to both is as it was.
    pub(crate) fn merge(&mut self, others: Self) {
        for (name, symbol) in others.named {
            self.named.entry(name).or_insert(symbol);
        }
        let new =
            |(name, _): &(Box<[u8]>, u64)| !self.with_ending.iter().any(|(own, _)| own == name);
        let new: Vec<_> = others.with_ending.into_iter().filter(new).collect();
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
        let Some(Entry { name, address, size }) = Entry::of_function(entry) else { return };
        self.starts.push(address);
        if let Some(&name) = places.names.get(&name) {
            let symbol = Symbol { name: name.as_bytes(), address, size, method };
            // A symbol may stand there in several versions.
            self.named.entry(name).or_insert(symbol);
        } else if let Some(name) = places.with_ending(name)
            && known.insert(name.into())
        {
            self.with_ending.push((name.into(), address));
        }
    }
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
