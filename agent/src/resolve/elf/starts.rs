//! Where functions start, by what the unwinder needs: a stripped file has it too.

use super::Elf;

/// Bytes before the table, and of each of its entries.
const HEAD: usize = 12;
const ENTRY: usize = 8;

/// The only encodings that linkers write: version 1, a pointer relative to itself, a number of 4
/// bytes, entries of 4 bytes relative to the section (LSB 5.0, "DWARF Exception Header Encoding").
const ENCODINGS: [u8; 4] = [1, 0x1b, 0x03, 0x3b];

impl Elf<'_> {
    /// The first address of every function, ascending, by `.eh_frame_hdr` (LSB 5.0, 10.6.2). Empty when
    /// the file has none, or one that is encoded otherwise.
    pub(crate) fn starts(&self) -> Vec<u64> {
        let mut starts = self.table_of_starts().unwrap_or_default();
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    fn table_of_starts(&self) -> Option<Vec<u64>> {
        const NAME: &[u8] = b".eh_frame_hdr";
        let bytes = self.section(NAME)?;
        let address = self.section_address(NAME)?;
        let count = bytes.get(HEAD - 4..)?.first_chunk().map(|count| u32::from_le_bytes(*count))?;
        if bytes.first_chunk() != Some(&ENCODINGS) {
            return None;
        }
        let entries = bytes.get(HEAD..)?.chunks_exact(ENTRY).take(usize::try_from(count).ok()?);
        let start = |entry: &[u8]| {
            let offset = entry.first_chunk().map(|offset| i32::from_le_bytes(*offset))?;
            address.checked_add_signed(offset.into())
        };
        Some(entries.filter_map(start).collect())
    }
}
