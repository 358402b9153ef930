//! The table that Go's runtime finds functions by (`runtime.pclntab`): in every program, stripped or
//! not.
//!
//! Comes in: the ELF file. Goes out: where functions of given names lie. The layouts are those of
//! src/debug/gosym/pclntab.go and src/runtime/symtab.go: of Go 1.16, 1.18, 1.20, and of 1.26, whose
//! header does not say where the code begins. What the table says is checked against its size, and no more
//! of it is copied than a few numbers.

use std::ops::Range;

use crate::resolve::{elf::Elf, sites::Extent};

/// Go's linker puts that of a position-independent program among what is relocated. With C in it, GNU's
/// linker then makes it a part of [`RELOCATED`].
const SECTIONS: [&[u8]; 2] = [b".gopclntab", b".data.rel.ro.gopclntab"];
const RELOCATED: &[u8] = b".data.rel.ro";

/// What only programs of Go have.
const BUILD: &[u8] = b".go.buildinfo";

/// `runtime.firstmoduledata`, since Go 1.26.
const MODULE: &[u8] = b".go.module";

/// Where in it, in words of 8 bytes, the header of the table and the beginning of the code stand: behind
/// six slices, `findfunctab`, `minpc` and `maxpc` (src/runtime/symtab.go, `moduledata`).
const MODULE_HEADER: u64 = 0;
const MODULE_TEXT: u64 = 22;

/// `pcHeader.magic`.
const GO_1_16: u32 = 0xffff_fffa;
const GO_1_18: u32 = 0xffff_fff0;
const GO_1_20: u32 = 0xffff_fff1;

/// What stands behind it in every header: two zeroes, the size of the shortest instruction, on x86-64,
/// and that of a pointer.
const BEHIND: [u8; 4] = [0, 0, 1, 8];

/// Bytes of the longest header (`pcHeader`).
const HEADER: usize = 72;

/// Bytes of a function's record up to the offset of its name, and this.
const FUNCTION: usize = 12;

/// Most places of [`RELOCATED`] that begin like a table and are looked at: each costs a walk through the
/// relocations.
const MOST: usize = 8;

/// The table of a program.
pub(super) struct Pclntab<'d> {
    elf: &'d Elf<'d>,
    /// Its address.
    address: u64,
    bytes: &'d [u8],
    /// The names of functions, each ended by NUL, and their offset.
    names: &'d [u8],
    names_at: usize,
    /// Offset of the list of functions, and what that counts its offsets from.
    list: usize,
    form: Form,
}

/// How an entry of the list of functions looks.
#[derive(Clone, Copy)]
enum Form {
    /// Its address and its offset, 8 bytes each; the name stands behind the address there.
    Absolute,
    /// What is to be added to the address of the code, and its offset, 4 bytes each.
    Relative { text: u64 },
}

impl Form {
    const fn entry(self) -> usize {
        match self {
            Self::Absolute => 16,
            Self::Relative { .. } => 8,
        }
    }
}

/// Whether a file has such a table, by the name of a section.
pub(super) fn is_in(elf: &Elf<'_>) -> bool {
    SECTIONS.iter().any(|name| elf.section_address(name).is_some())
}

impl<'d> Pclntab<'d> {
    /// `None`: there is none, or it is not understood.
    pub(super) fn of(elf: &'d Elf<'d>) -> Option<Self> {
        if let Some((address, bytes)) = SECTIONS.into_iter().find_map(|name| elf.table_at(name)) {
            return Self::at(elf, address, bytes);
        }
        elf.section_address(BUILD)?;
        let (address, bytes) = elf.table_at(RELOCATED)?;
        let begins = |behind: usize| {
            let start = behind.checked_sub(4).filter(|start| start % 8 == 0)?;
            let known = [GO_1_16, GO_1_18, GO_1_20].contains(&half(bytes, start)?);
            known.then_some(start)
        };
        memchr::memmem::find_iter(bytes, &BEHIND).filter_map(begins).take(MOST).find_map(|start| {
            let address = address.checked_add(u64::try_from(start).ok()?)?;
            Self::at(elf, address, bytes.get(start..)?)
        })
    }

    /// The table that begins at an address, with these bytes.
    fn at(elf: &'d Elf<'d>, address: u64, bytes: &'d [u8]) -> Option<Self> {
        let word = |index: usize| number(bytes, index * 8);
        let (magic, rest) = bytes.split_first_chunk()?;
        let (form, first) = match u32::from_le_bytes(*magic) {
            _ if !rest.starts_with(&BEHIND) => return None,
            GO_1_16 => (Form::Absolute, 3),
            GO_1_18 | GO_1_20 => (Form::Relative { text: text(elf, address)? }, 4),
            _ => return None,
        };
        // names, compilation units, files, counters, functions
        let names_at = word(first)?;
        let names = bytes.get(names_at..word(first + 1)?)?;
        let list = word(first + 4)?;
        let size = word(1)?.checked_mul(form.entry())?;
        bytes.get(list..)?.get(..size)?;
        elf.rely_on(address, HEADER);
        Some(Self { elf, address, bytes, names, names_at, list, form })
    }

    /// Where the functions of these names lie, in their order. A name that two have is none.
    pub(super) fn find<const N: usize>(&self, wanted: [&str; N]) -> [Option<Extent>; N] {
        let names = wanted.map(|name| self.name(name));
        let mut found = [Places::None; N];
        for (index, function) in self.functions().enumerate() {
            let Some(name) = function.and_then(|offset| self.name_of(offset)) else { continue };
            for (wanted, found) in names.iter().zip(&mut found) {
                if *wanted == Some(name) {
                    *found = found.and(index);
                }
            }
        }
        found.map(|places| {
            let function = match places {
                Places::One(index) => self.found(index),
                Places::None | Places::Many => None,
            };
            if function.is_none() {
                self.elf.rely_on_more();
            }
            function
        })
    }

    /// The function at a place of the list, and that it is there by its entry and its name.
    fn found(&self, index: usize) -> Option<Extent> {
        let offset = self.functions().nth(index)??;
        let name = usize::try_from(self.name_of(offset)?).ok()?;
        let length = memchr::memchr(0, self.names.get(name..)?)? + 1;
        let entry = index.checked_mul(self.form.entry())?;
        for (place, length) in [
            (self.list.checked_add(entry)?, 2 * self.form.entry()),
            (self.list.checked_add(offset)?, FUNCTION),
            (self.names_at.checked_add(name)?, length),
        ] {
            self.elf.rely_on(self.address.checked_add(u64::try_from(place).ok()?)?, length);
        }
        self.extent(index)
    }

    /// The offset of a name among the names.
    fn name(&self, name: &str) -> Option<u32> {
        let ended = [name.as_bytes(), b"\0"].concat();
        let is_whole =
            |at: &usize| *at == 0 || self.names.get(at - 1).is_some_and(|before| *before == 0);
        let place = memchr::memmem::find_iter(self.names, &ended).find(is_whole)?;
        u32::try_from(place).ok()
    }

    /// The offsets of all functions, from the list.
    fn functions(&self) -> impl Iterator<Item = Option<usize>> + '_ {
        let list = self.bytes.get(self.list..).unwrap_or_default();
        let count = number(self.bytes, 8).unwrap_or_default();
        let offset = |entry: &[u8]| match self.form {
            Form::Absolute => number(entry, 8),
            Form::Relative { .. } => usize::try_from(half(entry, 4)?).ok(),
        };
        list.chunks_exact(self.form.entry()).take(count).map(offset)
    }

    /// `_func.nameOff`, of a function at this offset.
    fn name_of(&self, offset: usize) -> Option<u32> {
        let address = match self.form {
            Form::Absolute => 8,
            Form::Relative { .. } => 4,
        };
        half(self.bytes, self.list.checked_add(offset)?.checked_add(address)?)
    }

    /// A function ends where the next begins. Behind the last stands where the code ends.
    fn extent(&self, index: usize) -> Option<Extent> {
        let Range { start, end } = self.begin(index)?..self.begin(index.checked_add(1)?)?;
        Some(Extent { address: start, size: end.checked_sub(start)? })
    }

    fn begin(&self, index: usize) -> Option<u64> {
        let entry = self.list.checked_add(index.checked_mul(self.form.entry())?)?;
        match self.form {
            Form::Absolute => {
                self.elf.pointer(self.address.checked_add(u64::try_from(entry).ok()?)?)
            }
            Form::Relative { text } => text.checked_add(half(self.bytes, entry)?.into()),
        }
    }
}

/// Where the functions of a name stand in the list.
#[derive(Clone, Copy)]
enum Places {
    None,
    One(usize),
    Many,
}

impl Places {
    const fn and(self, index: usize) -> Self {
        match self {
            Self::None => Self::One(index),
            Self::One(_) | Self::Many => Self::Many,
        }
    }
}

/// `runtime.text`, which addresses are counted from. With C in the program it is not where the section
/// begins.
fn text(elf: &Elf<'_>, table: u64) -> Option<u64> {
    const IN_HEADER: u64 = 24;
    match elf.pointer(table.checked_add(IN_HEADER)?)? {
        0 => {}
        text => return Some(text),
    }
    let module = elf.section_address(MODULE)?;
    let word = |index: u64| elf.pointer(module.checked_add(index * 8)?);
    // Else it is laid out in another way.
    (word(MODULE_HEADER)? == table).then(|| word(MODULE_TEXT))?
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u64::from_le_bytes(*bytes)).ok()
}

fn half(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}
