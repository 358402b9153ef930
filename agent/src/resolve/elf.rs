//! ELF files of containers, read with bounds: what a hostile file claims is checked before a byte
//! is read, and no read is larger than [`MAX_READ`].
//!
//! Comes in: an open file. Goes out: symbols, file offsets, strings. Knows nothing of TLS.

use std::{fs::File, ops::Range};

use object::{
    Endianness,
    elf::{self, FileHeader64, ProgramHeader64, Rela64, SectionHeader64, Sym64},
    read::{
        ReadCache, ReadRef,
        elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _, Sym as _},
    },
};
use thiserror::Error;

use super::{Method, sites::Architecture};

/// Most bytes read at once: one section or one table.
const MAX_READ: u64 = 64 << 20;

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

/// A file read through a cache, with an upper bound for each read.
#[derive(Clone, Copy)]
struct Bounded<'d>(&'d ReadCache<File>);

impl<'d> ReadRef<'d> for Bounded<'d> {
    fn len(self) -> Result<u64, ()> {
        self.0.len()
    }

    fn read_bytes_at(self, offset: u64, size: u64) -> Result<&'d [u8], ()> {
        if size > MAX_READ {
            return Err(());
        }
        self.0.read_bytes_at(offset, size)
    }

    fn read_bytes_at_until(self, range: Range<u64>, delimiter: u8) -> Result<&'d [u8], ()> {
        self.0.read_bytes_at_until(range, delimiter)
    }
}

/// The parts of a 64-bit ELF file that resolution needs.
pub(crate) struct Elf<'d> {
    architecture: Architecture,
    data: Bounded<'d>,
    endian: Endianness,
    segments: &'d [ProgramHeader64<Endianness>],
    sections: &'d [SectionHeader64<Endianness>],
    names: &'d [u8],
}

/// A function that the file defines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbol<'d> {
    pub(crate) name: &'d [u8],
    pub(crate) address: u64,
    /// Bytes; 0 where the file does not say.
    pub(crate) size: u64,
    pub(crate) method: Method,
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
    pub(crate) fn parse(cache: &'d ReadCache<File>) -> Result<Self, ElfError> {
        let data = Bounded(cache);
        let ident = data.read_bytes_at(0, 16).map_err(|()| ElfError::NotElf)?;
        if !ident.starts_with(&elf::ELFMAG) {
            return Err(ElfError::NotElf);
        }
        if ident.get(4) != Some(&elf::ELFCLASS64.0) {
            return Err(ElfError::Architecture);
        }
        let malformed = |_| ElfError::Malformed;
        let header = FileHeader64::<Endianness>::parse(data).map_err(malformed)?;
        let endian = header.endian().map_err(malformed)?;
        let architecture = match header.e_machine(endian) {
            elf::EM_X86_64 => Architecture::X86_64,
            elf::EM_AARCH64 => Architecture::Aarch64,
            _ => return Err(ElfError::Architecture),
        };
        if architecture != NATIVE {
            return Err(ElfError::Architecture);
        }
        let segments = header.program_headers(endian, data).map_err(malformed)?;
        // Sections are a convenience of the linker; a file without them still runs.
        let sections = header.section_headers(endian, data).unwrap_or(&[]);
        let names = header
            .section_strings_index(endian, data)
            .ok()
            .and_then(|index| sections.get(index.0)?.data(endian, data).ok())
            .unwrap_or(&[]);
        Ok(Self { architecture, data, endian, segments, sections, names })
    }

    pub(crate) const fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// The functions of `.dynsym`, then those of `.symtab`; undefined ones are left out.
    pub(crate) fn functions(&self) -> impl Iterator<Item = Symbol<'d>> + '_ {
        let tables = [(elf::SHT_DYNSYM, Method::Dynsym), (elf::SHT_SYMTAB, Method::Symtab)];
        tables.into_iter().flat_map(move |(kind, method)| {
            self.sections
                .iter()
                .filter(move |section| section.sh_type(self.endian) == kind)
                .flat_map(move |section| self.symbols(section, method))
        })
    }

    fn symbols(
        &self,
        section: &'d SectionHeader64<Endianness>,
        method: Method,
    ) -> impl Iterator<Item = Symbol<'d>> + '_ {
        let symbols: &'d [Sym64<Endianness>] =
            section.data_as_array(self.endian, self.data).unwrap_or(&[]);
        let strings: &'d [u8] = usize::try_from(section.sh_link(self.endian))
            .ok()
            .and_then(|link| self.sections.get(link)?.data(self.endian, self.data).ok())
            .unwrap_or(&[]);
        symbols.iter().filter_map(move |symbol| {
            let defined = symbol.st_shndx(self.endian) != elf::SHN_UNDEF;
            if symbol.st_type() != elf::STT_FUNC || !defined {
                return None;
            }
            let start = usize::try_from(symbol.st_name(self.endian)).ok()?;
            let name = strings.get(start..)?.split(|&byte| byte == 0).next()?;
            let address = symbol.st_value(self.endian);
            Some(Symbol { name, address, size: symbol.st_size(self.endian), method })
        })
    }

    /// The file offset of an address of code.
    ///
    /// A uprobe is placed by file offset, and the kernel maps by segments, so the executable
    /// `PT_LOAD` that holds the address decides, not the section headers.
    pub(crate) fn code_offset(&self, address: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let code = segment.p_type(self.endian) == elf::PT_LOAD
                && segment.p_flags(self.endian).contains(elf::PF_X);
            let inside = address.checked_sub(segment.p_vaddr(self.endian))?;
            if !code || inside >= segment.p_filesz(self.endian) {
                return None;
            }
            segment.p_offset(self.endian).checked_add(inside)
        })
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

    /// The address and the contents of a section, likewise.
    pub(crate) fn section_at(&self, name: &[u8]) -> Option<(u64, &'d [u8])> {
        let named = |section: &&SectionHeader64<_>| self.section_name(section) == Some(name);
        let section = self.sections.iter().find(named)?;
        Some((section.sh_addr(self.endian), section.data(self.endian, self.data).ok()?))
    }

    /// The contents of a section; `None` when it is absent, not in the file, or too large.
    pub(crate) fn section(&self, name: &[u8]) -> Option<&'d [u8]> {
        let section = self.sections.iter().find(|section| self.section_name(section) == Some(name));
        section?.data(self.endian, self.data).ok()
    }

    /// The code at an address: at most `len` bytes, fewer at the end of its section.
    pub(crate) fn code(&self, address: u64, len: u64) -> Option<&'d [u8]> {
        let section = self.sections.iter().find(|section| self.holds(section, address))?;
        let left = section.sh_addr(self.endian) + section.sh_size(self.endian) - address;
        let offset = self.code_offset(address)?;
        self.data.read_bytes_at(offset, left.min(len)).ok()
    }

    /// The pointer at an address of data, as it is when the file is loaded at address 0: what the
    /// dynamic linker would put there, or what the file has there.
    pub(crate) fn pointer(&self, address: u64) -> Option<u64> {
        let relocation = self
            .sections
            .iter()
            .filter(|section| section.sh_type(self.endian) == elf::SHT_RELA)
            .filter_map(|section| section.data_as_array(self.endian, self.data).ok())
            .flat_map(|relocations: &[Rela64<Endianness>]| relocations)
            .find(|relocation| relocation.r_offset.get(self.endian) == address);
        let Some(relocation) = relocation else { return self.word(address) };
        let relative = match self.architecture {
            Architecture::X86_64 => elf::R_X86_64_RELATIVE,
            Architecture::Aarch64 => elf::R_AARCH64_RELATIVE,
        };
        let addend = u64::try_from(relocation.r_addend.get(self.endian)).ok()?;
        (relocation.r_type(self.endian, false) == relative).then_some(addend)
    }

    /// The 8 bytes at an address, as a number.
    fn word(&self, address: u64) -> Option<u64> {
        let offset = self.segments.iter().find_map(|segment| {
            let inside = address.checked_sub(segment.p_vaddr(self.endian))?;
            let end = inside.checked_add(8)?;
            let loaded = segment.p_type(self.endian) == elf::PT_LOAD;
            (loaded && end <= segment.p_filesz(self.endian))
                .then(|| segment.p_offset(self.endian).checked_add(inside))?
        })?;
        let bytes = self.data.read_bytes_at(offset, 8).ok()?;
        bytes.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Whether an address lies in the program's own code, and not in a table of imports.
    pub(crate) fn is_text(&self, address: u64) -> bool {
        self.sections.iter().any(|section| {
            self.section_name(section) == Some(b".text") && self.holds(section, address)
        })
    }

    fn holds(&self, section: &SectionHeader64<Endianness>, address: u64) -> bool {
        address
            .checked_sub(section.sh_addr(self.endian))
            .is_some_and(|inside| inside < section.sh_size(self.endian))
            && section.sh_addr(self.endian).checked_add(section.sh_size(self.endian)).is_some()
    }

    fn section_name(&self, section: &SectionHeader64<Endianness>) -> Option<&'d [u8]> {
        let start = usize::try_from(section.sh_name(self.endian)).ok()?;
        self.names.get(start..)?.split(|&byte| byte == 0).next()
    }
}

/// What this machine runs.
#[cfg(target_arch = "x86_64")]
const NATIVE: Architecture = Architecture::X86_64;
#[cfg(target_arch = "aarch64")]
const NATIVE: Architecture = Architecture::Aarch64;
