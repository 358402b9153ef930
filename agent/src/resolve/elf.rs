//! ELF files of containers, read with bounds: what a hostile file claims is checked before a byte
//! is read, and no more is kept and read than [`Source`] allows.
//!
//! Comes in: a file's bytes. Goes out: symbols, file offsets, strings. Knows nothing of TLS.

mod imports;
mod starts;

use std::{
    cell::{Cell, OnceCell, RefCell},
    collections::HashSet,
    ops::Range,
};

use object::{
    Endianness,
    elf::{self, FileHeader64, ProgramHeader64, Rela64, SectionHeader64},
    read::{
        ReadRef as _,
        elf::{FileHeader as _, Note, NoteIterator, ProgramHeader as _, SectionHeader as _},
    },
};
use thiserror::Error;

use super::{
    Method, families,
    sites::Architecture,
    source::Source,
    symbols::{self, Found, Symbols, Table, Vocabulary},
};
use crate::discover::BuildId;

/// Most section headers; linkers put what begins alike together.
const MAX_SECTIONS: u32 = 1024;
/// Most program headers.
const MAX_SEGMENTS: u32 = 256;
/// Most bytes of a section that is searched.
const MAX_SEARCHED: u64 = 64 << 20;
/// Most bytes of the names of sections, of notes.
const MAX_SMALL: u64 = 1 << 20;

/// Why a file is not read further.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ElfError {
    /// The file is not ELF at all.
    #[error("not an ELF file")]
    NotElf,
    /// ELF for another machine or word size.
    #[error("ELF file for another architecture")]
    Architecture,
    /// A header or table contradicts itself or the file's size, or is beyond the bounds.
    #[error("malformed or oversized ELF file")]
    Malformed,
}

/// The parts of a 64-bit ELF file that resolution needs.
pub(crate) struct Elf<'d> {
    architecture: Architecture,
    source: &'d Source,
    endian: Endianness,
    segments: &'d [ProgramHeader64<Endianness>],
    sections: &'d [SectionHeader64<Endianness>],
    names: &'d [u8],
    symbols: OnceCell<Symbols>,
    /// Where in the file the code and data lie that was looked at, bytes.
    looked_at: RefCell<HashSet<(u64, u64)>>,
    /// More was looked at than is in `looked_at`.
    and_more: Cell<bool>,
}

/// A part of the file that is loaded into memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment {
    pub(crate) address: u64,
    pub(crate) offset: u64,
    /// Bytes, as the file says.
    pub(crate) len: u64,
    pub(crate) writable: bool,
    pub(crate) executable: bool,
}

impl<'d> Elf<'d> {
    /// One of this machine.
    pub(crate) fn parse(source: &'d Source) -> Result<Self, ElfError> {
        Self::parse_of(source, NATIVE)
    }

    /// One of a machine.
    pub(crate) fn parse_of(source: &'d Source, machine: Architecture) -> Result<Self, ElfError> {
        let ident = source.read_bytes_at(0, 16).map_err(|()| ElfError::NotElf)?;
        if !ident.starts_with(&elf::ELFMAG) {
            return Err(ElfError::NotElf);
        }
        if ident.get(4) != Some(&elf::ELFCLASS64.0) || ident.get(5) != Some(&elf::ELFDATA2LSB.0) {
            return Err(ElfError::Architecture);
        }
        let malformed = |_| ElfError::Malformed;
        let header = FileHeader64::<Endianness>::parse(source).map_err(malformed)?;
        let endian = header.endian().map_err(malformed)?;
        let architecture = match header.e_machine(endian) {
            elf::EM_X86_64 => Architecture::X86_64,
            elf::EM_AARCH64 => Architecture::Aarch64,
            _ => return Err(ElfError::Architecture),
        };
        if architecture != machine {
            return Err(ElfError::Architecture);
        }
        let segments = header.phnum(endian, source).map_err(malformed)?;
        let sections = header.shnum(endian, source).unwrap_or(0);
        if segments > MAX_SEGMENTS || sections > MAX_SECTIONS {
            return Err(ElfError::Malformed);
        }
        let segments = header.program_headers(endian, source).map_err(malformed)?;
        // Sections are a convenience of the linker; a file without them still runs.
        let sections = header.section_headers(endian, source).unwrap_or(&[]);
        let named = header.section_strings_index(endian, source).ok();
        let named = named
            .and_then(|index| sections.get(index.0))
            .filter(|section| section.sh_size(endian) <= MAX_SMALL)
            .and_then(|section| {
                Some((section.sh_offset(endian), section.data(endian, source).ok()?))
            });
        let (names_at, names): (_, &[u8]) = named.unwrap_or_default();
        let headers = [
            (0, size_of::<FileHeader64<Endianness>>()),
            (header.e_phoff(endian), size_of_val(segments)),
            (header.e_shoff(endian), size_of_val(sections)),
            (names_at, names.len()),
        ];
        let looked_at = headers.map(|(offset, length)| (offset, length as u64)).into();
        let (symbols, looked_at) = (OnceCell::new(), RefCell::new(looked_at));
        Ok(Self {
            architecture,
            source,
            endian,
            segments,
            sections,
            names,
            symbols,
            looked_at,
            and_more: Cell::new(false),
        })
    }

    pub(crate) const fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// What the linker has given to this build of the file.
    pub(crate) fn build_id(&self) -> Option<BuildId> {
        let notes = |segment: &ProgramHeader64<Endianness>| {
            let small = segment.p_filesz(self.endian) <= MAX_SMALL;
            small.then(|| segment.notes(self.endian, self.source).ok()?)?
        };
        self.segments.iter().filter_map(notes).find_map(|notes| self.id_in(notes))
    }

    /// The same by its sections, for debug files: their segments are those of another file.
    pub(crate) fn noted_build_id(&self) -> Option<BuildId> {
        let notes = |section: &SectionHeader64<Endianness>| {
            let small = section.sh_size(self.endian) <= MAX_SMALL;
            small.then(|| section.notes(self.endian, self.source).ok()?)?
        };
        self.sections.iter().filter_map(notes).find_map(|notes| self.id_in(notes))
    }

    fn id_in(&self, notes: NoteIterator<'_, FileHeader64<Endianness>>) -> Option<BuildId> {
        let id = |note: Note<'_, FileHeader64<Endianness>>| {
            let (name, kind) = (note.name(), note.n_type(self.endian));
            let is_id = name == elf::ELF_NOTE_GNU && kind == elf::NT_GNU_BUILD_ID;
            is_id.then(|| BuildId::new(note.desc()))?
        };
        notes.map_while(Result::ok).find_map(id)
    }

    /// The functions that the file names, as far as the families of libraries ask for them.
    pub(crate) fn symbols(&self) -> &Symbols {
        self.symbols.get_or_init(|| self.symbols_of(&families::VOCABULARY))
    }

    /// The functions that the file names, of those in a vocabulary.
    pub(crate) fn symbols_of(&self, vocabulary: &Vocabulary) -> Symbols {
        Symbols::of(vocabulary, self.source, &self.tables())
    }

    /// The functions whose names contain these bytes, in any table.
    pub(crate) fn functions_with(&self, part: &[u8]) -> Vec<Found> {
        self.rely_on_more();
        let tables = self.tables().into_iter();
        let found = tables.filter_map(|table| symbols::containing(self.source, &table, part));
        found.flatten().collect()
    }

    /// Adds functions that are named elsewhere.
    pub(crate) fn learn(&mut self, others: Symbols) {
        self.symbols();
        self.rely_on_more();
        if let Some(symbols) = self.symbols.get_mut() {
            symbols.merge(others);
        }
    }

    /// `.dynsym`, then `.symtab`: there is at most one of each (gABI, `sh_type`).
    pub(crate) fn tables(&self) -> Vec<Table> {
        let tables = [(elf::SHT_DYNSYM, Method::Dynsym), (elf::SHT_SYMTAB, Method::Symtab)];
        let table = |(kind, method)| {
            let section = self.sections.iter().find(|section| section.sh_type(self.endian) == kind);
            let link = usize::try_from(section?.sh_link(self.endian)).ok()?;
            let [symbols, strings] =
                [section?, self.sections.get(link)?].map(|section| self.file_range(section));
            Some(Table { symbols: symbols?, strings: strings?, method })
        };
        tables.into_iter().filter_map(table).collect()
    }

    /// All functions that the file names.
    #[cfg(test)]
    pub(crate) fn functions(&self) -> impl Iterator<Item = symbols::Symbol<'d>> + '_ {
        self.tables().into_iter().flat_map(|table| {
            let read = |range: &Range<u64>| {
                self.source.read_bytes_at(range.start, range.end - range.start).unwrap()
            };
            let strings = read(&table.strings);
            symbols::functions(read(&table.symbols), strings, table.method)
        })
    }

    /// Where a section lies in the file, bytes.
    fn file_range(&self, section: &SectionHeader64<Endianness>) -> Option<Range<u64>> {
        let (start, size) = section.file_range(self.endian)?;
        let end = start.checked_add(size).filter(|&end| end <= self.source.len())?;
        Some(start..end)
    }

    /// The file offset of an address of code; none behind the end of the file, whatever that claims.
    ///
    /// A uprobe is placed by file offset, and the kernel maps by segments, so the executable
    /// `PT_LOAD` that holds the address decides, not the section headers.
    pub(crate) fn code_offset(&self, address: u64) -> Option<u64> {
        let offset = self.segments.iter().find_map(|segment| {
            let code = segment.p_type(self.endian) == elf::PT_LOAD
                && segment.p_flags(self.endian).contains(elf::PF_X);
            let inside = address.checked_sub(segment.p_vaddr(self.endian))?;
            if !code || inside >= segment.p_filesz(self.endian) {
                return None;
            }
            segment.p_offset(self.endian).checked_add(inside)
        });
        offset.filter(|&offset| offset < self.source.len())
    }

    /// What of the file is loaded.
    pub(crate) fn segments(&self) -> impl Iterator<Item = Segment> + '_ {
        let loaded = |segment: &&ProgramHeader64<_>| segment.p_type(self.endian) == elf::PT_LOAD;
        self.segments.iter().filter(loaded).map(|segment| Segment {
            address: segment.p_vaddr(self.endian),
            offset: segment.p_offset(self.endian),
            len: segment.p_filesz(self.endian),
            writable: segment.p_flags(self.endian).contains(elf::PF_W),
            executable: segment.p_flags(self.endian).contains(elf::PF_X),
        })
    }

    /// The contents of a section, which are kept, and all looked at; `None` when it is absent, not in the
    /// file, or too large. What is only searched is better [searched](Self::search).
    pub(crate) fn section(&self, name: &[u8]) -> Option<&'d [u8]> {
        self.section_at(name).map(|(_, contents)| contents)
    }

    /// The address and the contents of a section, likewise.
    pub(crate) fn section_at(&self, name: &[u8]) -> Option<(u64, &'d [u8])> {
        let section = self.section_header(name)?;
        Some((section.sh_addr(self.endian), self.looked_at_data(section)?))
    }

    fn looked_at_data(&self, section: &SectionHeader64<Endianness>) -> Option<&'d [u8]> {
        let data = section.data(self.endian, self.source).ok()?;
        self.looked_at.borrow_mut().insert((section.sh_offset(self.endian), data.len() as u64));
        Some(data)
    }

    /// The same for a table of which little matters: what does is for the caller to say
    /// ([`Self::rely_on`]).
    pub(crate) fn table_at(&self, name: &[u8]) -> Option<(u64, &'d [u8])> {
        let section = self.section_header(name)?;
        Some((section.sh_addr(self.endian), section.data(self.endian, self.source).ok()?))
    }

    /// Says that what is found depends on these bytes, at an address.
    pub(crate) fn rely_on(&self, address: u64, len: usize) {
        if self.loaded(address, len as u64).is_none() {
            self.rely_on_more();
        }
    }

    /// Says that it depends on too much to tell, as what is not there does.
    pub(crate) fn rely_on_more(&self) {
        self.and_more.set(true);
    }

    /// Where a section lies in memory.
    pub(crate) fn section_address(&self, name: &[u8]) -> Option<u64> {
        self.section_header(name).map(|section| section.sh_addr(self.endian))
    }

    /// Where a section lies in the file, bytes.
    pub(crate) fn section_range(&self, name: &[u8]) -> Option<Range<u64>> {
        self.file_range(self.section_header(name)?)
    }

    /// Looks through a section of up to [`MAX_SEARCHED`] bytes, part after part, until something is
    /// found. What is looked for may be `length` bytes long.
    pub(crate) fn search<T>(
        &self,
        name: &[u8],
        length: usize,
        mut look: impl FnMut(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let range = self.section_range(name)?;
        if range.end - range.start > MAX_SEARCHED {
            return None;
        }
        self.source.windows(range, length, |_, window| look(window)).ok()?
    }

    fn section_header(&self, name: &[u8]) -> Option<&'d SectionHeader64<Endianness>> {
        self.sections.iter().find(|section| self.is_named(section, name))
    }

    /// The code at an address: at most `len` bytes, fewer at the end of its section.
    pub(crate) fn code(&self, address: u64, len: u64) -> Option<&'d [u8]> {
        let section = self.sections.iter().find(|section| self.holds(section, address))?;
        let left = section.sh_addr(self.endian) + section.sh_size(self.endian) - address;
        let (offset, len) = (self.code_offset(address)?, left.min(len));
        let code = self.source.read_bytes_at(offset, len).ok()?;
        self.looked_at.borrow_mut().insert((offset, len));
        Some(code)
    }

    /// Where in the file all lies that was looked at: whatever else is in another file, what these bytes
    /// led to here is as true there. Tables of symbols belong to it as a whole, since it matters which names
    /// there are not. `None` when it is not known, as with functions that another file names.
    pub(crate) fn looked_at(&self) -> Option<Vec<(u64, u64)>> {
        if self.and_more.get() {
            return None;
        }
        let mut all: Vec<_> = self.looked_at.borrow().iter().copied().collect();
        if self.symbols.get().is_some() {
            let tables = self.tables().into_iter();
            let parts = tables.flat_map(|table| [table.symbols, table.strings]);
            all.extend(parts.map(|part| (part.start, part.end - part.start)));
        }
        Some(all)
    }

    /// The pointer at an address of data, as it is when the file is loaded at address 0: what the
    /// dynamic linker would put there, or what the file has there.
    pub(crate) fn pointer(&self, address: u64) -> Option<u64> {
        let relocations = self
            .sections
            .iter()
            .filter(|section| section.sh_type(self.endian) == elf::SHT_RELA)
            .filter_map(|section| self.relocations(section));
        let Some(relocation) = relocations
            .flatten()
            .find(|(_, relocation)| relocation.r_offset.get(self.endian) == address)
        else {
            return self.word(address);
        };
        let (offset, relocation) = relocation;
        self.looked_at.borrow_mut().insert((offset, size_of::<Rela64<Endianness>>() as u64));
        let relative = match self.architecture {
            Architecture::X86_64 => elf::R_X86_64_RELATIVE,
            Architecture::Aarch64 => elf::R_AARCH64_RELATIVE,
        };
        let addend = u64::try_from(relocation.r_addend.get(self.endian)).ok()?;
        (relocation.r_type(self.endian, false) == relative).then_some(addend)
    }

    /// The relocations of a section, and where in the file each lies.
    fn relocations(
        &self,
        section: &'d SectionHeader64<Endianness>,
    ) -> Option<impl Iterator<Item = (u64, &'d Rela64<Endianness>)> + use<'d>> {
        let all: &'d [Rela64<Endianness>] = section.data_as_array(self.endian, self.source).ok()?;
        let start = section.sh_offset(self.endian);
        Some((start..).step_by(size_of::<Rela64<Endianness>>()).zip(all))
    }

    /// The string that a string of Go at an address is: a pointer and a length. `None` when it is
    /// longer than `longest`.
    pub(crate) fn go_string(&self, address: u64, longest: usize) -> Option<&'d [u8]> {
        let length = usize::try_from(self.pointer(address.checked_add(8)?)?).ok()?;
        (length <= longest).then(|| self.bytes(self.pointer(address)?, length))?
    }

    /// The 8 bytes at an address, as a number.
    fn word(&self, address: u64) -> Option<u64> {
        let mut bytes = [0; 8];
        self.source.fill(&mut bytes, self.loaded(address, 8)?).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// The bytes at an address that are in the file.
    fn bytes(&self, address: u64, len: usize) -> Option<&'d [u8]> {
        let len = u64::try_from(len).ok()?;
        self.source.read_bytes_at(self.loaded(address, len)?, len).ok()
    }

    /// Where bytes at an address lie in the file, which are looked at.
    fn loaded(&self, address: u64, len: u64) -> Option<u64> {
        let offset = self.offset_of(address, len)?;
        self.looked_at.borrow_mut().insert((offset, len));
        Some(offset)
    }

    /// Where bytes at an address lie in the file.
    fn offset_of(&self, address: u64, len: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let inside = address.checked_sub(segment.p_vaddr(self.endian))?;
            let end = inside.checked_add(len)?;
            let loaded = segment.p_type(self.endian) == elf::PT_LOAD;
            (loaded && end <= segment.p_filesz(self.endian))
                .then(|| segment.p_offset(self.endian).checked_add(inside))?
        })
    }

    /// Whether an address lies in the program's own code, and not in a table of imports.
    pub(crate) fn is_text(&self, address: u64) -> bool {
        self.sections
            .iter()
            .any(|section| self.holds(section, address) && self.is_named(section, b".text"))
    }

    fn holds(&self, section: &SectionHeader64<Endianness>, address: u64) -> bool {
        address
            .checked_sub(section.sh_addr(self.endian))
            .is_some_and(|inside| inside < section.sh_size(self.endian))
            && section.sh_addr(self.endian).checked_add(section.sh_size(self.endian)).is_some()
    }

    fn is_named(&self, section: &SectionHeader64<Endianness>, name: &[u8]) -> bool {
        usize::try_from(section.sh_name(self.endian))
            .ok()
            .and_then(|start| self.names.get(start..)?.strip_prefix(name))
            .is_some_and(|rest| rest.first() == Some(&0))
    }
}

/// What this machine runs.
#[cfg(target_arch = "x86_64")]
const NATIVE: Architecture = Architecture::X86_64;
#[cfg(target_arch = "aarch64")]
const NATIVE: Architecture = Architecture::Aarch64;
