//! Where functions start, by what the unwinder needs: a stripped file has it too.

use std::ops::Range;

use object::read::elf::SectionHeader as _;

use super::Elf;

/// Bytes before the table, and of each of its entries.
const HEAD: usize = 12;
const ENTRY: usize = 8;

/// The only encodings that linkers write: version 1, a pointer relative to itself, a number of 4
/// bytes, entries of 4 bytes relative to the section (LSB 5.0, "DWARF Exception Header Encoding").
const ENCODINGS: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

impl Elf<'_> {
    /// The first address of every function, ascending, by `.eh_frame_hdr` (LSB 5.0, 10.6.2). `None` when
    /// the file has no such table, one that is encoded otherwise, or more functions than `most`.
    pub(crate) fn starts(&self, most: usize) -> Option<Vec<u64>> {
        const NAME: &[u8] = b".eh_frame_hdr";
        let address = self.extent(NAME)?.start;
        let bytes = self.section(NAME)?;
        let count = bytes.get(HEAD - 4..)?.first_chunk().map(|count| u32::from_le_bytes(*count))?;
        let count = usize::try_from(count).ok().filter(|&count| count <= most)?;
        if bytes.first_chunk() != Some(&ENCODINGS) {
            return None;
        }
        let start = |entry: &[u8]| {
            let offset = entry.first_chunk().map(|offset| i32::from_le_bytes(*offset))?;
            address.checked_add_signed(offset.into())
        };
        let entries = bytes.get(HEAD..)?.chunks_exact(ENTRY).take(count);
        let mut starts: Vec<_> = entries.filter_map(start).collect();
        starts.sort_unstable();
        starts.dedup();
        Some(starts)
    }

    /// The addresses of a section.
    pub(crate) fn extent(&self, name: &[u8]) -> Option<Range<u64>> {
        let section = self.section_header(name)?;
        let start = section.sh_addr(self.endian);
        Some(start..start.checked_add(section.sh_size(self.endian))?)
    }
}
