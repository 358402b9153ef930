//! What a file takes from others: functions that the dynamic linker finds for it.

use object::{
    Endianness,
    elf::{self, Rela64, SectionHeader64, Sym64},
    read::elf::{SectionHeader as _, Sym as _},
};

use super::Elf;

impl Elf<'_> {
    /// Where the dynamic linker puts the address of a function of another file; nowhere when this
    /// file does not use it.
    pub(crate) fn imports(&self, name: &[u8]) -> Vec<u64> {
        self.sections
            .iter()
            .filter(|section| section.sh_type(self.endian) == elf::SHT_RELA)
            .flat_map(|section| self.slots(section, name).unwrap_or_default())
            .collect()
    }

    /// Those that one table of relocations fills.
    fn slots(&self, section: &SectionHeader64<Endianness>, name: &[u8]) -> Option<Vec<u64>> {
        let linked = |section: &SectionHeader64<Endianness>| {
            self.sections.get(usize::try_from(section.sh_link(self.endian)).ok()?)
        };
        let table = linked(section)?;
        let strings = self.looked_at_data(linked(table)?)?;
        self.looked_at_data(table)?;
        self.looked_at_data(section)?;
        let symbols: &[Sym64<Endianness>] = table.data_as_array(self.endian, self.source).ok()?;
        // The name itself, and not what follows it up to a NUL: that may be anything.
        let is_named = |start: u32| {
            let named = usize::try_from(start).ok().and_then(|start| strings.get(start..));
            named
                .and_then(|rest| rest.strip_prefix(name))
                .is_some_and(|rest| rest.starts_with(&[0]))
        };
        let wanted = symbols.iter().position(|symbol| {
            symbol.st_shndx(self.endian) == elf::SHN_UNDEF && is_named(symbol.st_name(self.endian))
        })?;
        let relocations: &[Rela64<Endianness>] =
            section.data_as_array(self.endian, self.source).ok()?;
        let fills = |relocation: &&Rela64<Endianness>| {
            usize::try_from(relocation.r_sym(self.endian, false)) == Ok(wanted)
        };
        let place = |relocation: &Rela64<Endianness>| relocation.r_offset.get(self.endian);
        Some(relocations.iter().filter(fills).map(place).collect())
    }
}
