//! Where functions begin, by the tables for unwinding, which no strip removes: `.eh_frame` (Linux
//! Standard Base 5.0, Core, 10.6). Programs that are linked statically may have no index of it.

use std::collections::{BTreeMap, BTreeSet};

use gimli::{BaseAddresses, CieOrFde, EhFrame, LittleEndian, UnwindSection as _};

use super::elf::Elf;

/// Most entries that are looked at: Chromium has 600,000.
const MAX_ENTRIES: usize = 1 << 20;

/// Those of some addresses at which functions begin, and how many bytes these have.
pub(super) fn beginning(elf: &Elf<'_>, addresses: &BTreeSet<u64>) -> BTreeMap<u64, u64> {
    let mut found = BTreeMap::new();
    let Some((address, data)) = elf.section_at(b".eh_frame") else { return found };
    let section = EhFrame::new(data, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(address);
    let mut entries = section.entries(&bases);
    for _ in 0..MAX_ENTRIES {
        // What is malformed is the end.
        let Ok(Some(entry)) = entries.next() else { break };
        let CieOrFde::Fde(entry) = entry else { continue };
        let common = |section: &EhFrame<_>, bases: &_, at| section.cie_from_offset(bases, at);
        let Ok(entry) = entry.parse(common) else { continue };
        if addresses.contains(&entry.initial_address()) {
            found.insert(entry.initial_address(), entry.len());
        }
    }
    found
}
