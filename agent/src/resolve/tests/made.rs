//! ELF files that no compiler makes: too large, contradictory, cut off.

use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
};

use object::elf::{
    PF_R, PF_X, PT_LOAD, PT_NOTE, SHT_DYNSYM, SHT_NULL, SHT_PROGBITS, SHT_STRTAB, SHT_SYMTAB,
};

/// Bytes of a file's header, of a program header, of a section's.
pub(super) const HEADER: u64 = 64;
pub(super) const SEGMENT: u64 = 56;
pub(super) const SECTION: u64 = 64;

/// A section: where it says that it is, whatever is there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    pub(super) name: &'static str,
    pub(super) kind: u32,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) link: u32,
}

impl Section {
    const NULL: Self = Self { name: "", kind: SHT_NULL.0, address: 0, offset: 0, size: 0, link: 0 };
}

/// A file in the making: code from [`TEXT`] on, then what is added, the headers of sections at the
/// end.
pub(super) struct Made {
    pub(super) file: File,
    pub(super) sections: Vec<Section>,
    end: u64,
}

/// Where the code begins, in the file and in memory.
pub(super) const TEXT: u64 = 0x1000;

impl Made {
    /// A file with so many bytes of code, all `ret`s of which only the first is written.
    pub(super) fn new(code: u64) -> Self {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[0xc3; 64], TEXT).unwrap();
        let text = Section {
            name: ".text",
            kind: SHT_PROGBITS.0,
            address: TEXT,
            offset: TEXT,
            size: code,
            link: 0,
        };
        Self { file, sections: vec![Section::NULL, text], end: TEXT + code }
    }

    /// Adds a section with these contents; gives its index.
    pub(super) fn add(&mut self, name: &'static str, kind: u32, contents: &[u8], link: u32) -> u32 {
        self.file.write_all_at(contents, self.end).unwrap();
        let (offset, size) = (self.end, contents.len() as u64);
        self.sections.push(Section { name, kind, address: 0, offset, size, link });
        self.end += size.next_multiple_of(8);
        u32::try_from(self.sections.len()).unwrap() - 1
    }

    /// Adds functions of these names and addresses.
    pub(super) fn functions<N: AsRef<str>>(
        &mut self,
        dynamic: bool,
        functions: impl IntoIterator<Item = (N, u64)>,
    ) {
        let (mut symbols, mut strings) = (vec![0; 24], vec![0]);
        for (name, address) in functions {
            let place = u32::try_from(strings.len()).unwrap();
            strings.extend_from_slice(name.as_ref().as_bytes());
            strings.push(0);
            symbols.extend_from_slice(&symbol(place, address));
        }
        let names = if dynamic { [".dynstr", ".dynsym"] } else { [".strtab", ".symtab"] };
        let kind = if dynamic { SHT_DYNSYM } else { SHT_SYMTAB };
        let link = self.add(names[0], SHT_STRTAB.0, &strings, 0);
        self.add(names[1], kind.0, &symbols, link);
    }

    /// The whole file, with a build-id.
    pub(super) fn finish(mut self, build_id: [u8; 20]) -> File {
        let note = [&4u32.to_le_bytes()[..], &20u32.to_le_bytes(), &3u32.to_le_bytes(), b"GNU\0"];
        let note = [&note.concat()[..], &build_id].concat();
        self.add(".note.gnu.build-id", SHT_PROGBITS.0, &note, 0);
        let (at, size) = self.sections.last().map(|note| (note.offset, note.size)).unwrap();
        let names: Vec<u8> = self
            .sections
            .iter()
            .flat_map(|section| [section.name.as_bytes(), b"\0"].concat())
            .collect();
        let names = [&names[..], b".shstrtab\0"].concat();
        let index = self.add(".shstrtab", SHT_STRTAB.0, &names, 0);
        let (mut file, end) = (self.file, self.end);
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&header(end, self.sections.len(), index)).unwrap();
        let code = self.sections[1].size;
        file.write_all(&segment(PT_LOAD.0, (PF_R | PF_X).0, TEXT, code)).unwrap();
        file.write_all(&segment(PT_NOTE.0, PF_R.0, at, size)).unwrap();
        let mut name = 0;
        let mut headers = Vec::new();
        for section in &self.sections {
            headers.extend_from_slice(&section_header(name, section));
            name += u32::try_from(section.name.len()).unwrap() + 1;
        }
        file.write_all_at(&headers, end).unwrap();
        file
    }
}

fn symbol(name: u32, address: u64) -> [u8; 24] {
    let mut entry = [0; 24];
    entry[..4].copy_from_slice(&name.to_le_bytes());
    // A global function in section 1.
    entry[4] = 0x12;
    entry[6] = 1;
    entry[8..16].copy_from_slice(&address.to_le_bytes());
    entry
}

fn header(sections_at: u64, sections: usize, names: u32) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01".to_vec();
    header.resize(16, 0);
    header.extend_from_slice(&3u16.to_le_bytes());
    let machine: u16 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
    header.extend_from_slice(&machine.to_le_bytes());
    header.extend_from_slice(&1u32.to_le_bytes());
    for word in [TEXT, HEADER, sections_at] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    header.extend_from_slice(&0u32.to_le_bytes());
    let sections = u16::try_from(sections).unwrap();
    let names = u16::try_from(names).unwrap();
    for half in [64, 56, 2, 64, sections, names] {
        header.extend_from_slice(&u16::to_le_bytes(half));
    }
    header
}

fn segment(kind: u32, flags: u32, offset: u64, size: u64) -> Vec<u8> {
    let mut segment = [kind.to_le_bytes(), flags.to_le_bytes()].concat();
    for word in [offset, offset, offset, size, size, 4] {
        segment.extend_from_slice(&word.to_le_bytes());
    }
    segment
}

fn section_header(name: u32, section: &Section) -> Vec<u8> {
    let mut header = [name.to_le_bytes(), section.kind.to_le_bytes()].concat();
    for word in [0, section.address, section.offset, section.size] {
        header.extend_from_slice(&word.to_le_bytes());
    }
    header.extend_from_slice(&section.link.to_le_bytes());
    header.extend_from_slice(&0u32.to_le_bytes());
    let entry = if section.name.ends_with("sym") || section.name == ".symtab" { 24u64 } else { 0 };
    header.extend_from_slice(&[1u64.to_le_bytes(), entry.to_le_bytes()].concat());
    header
}
