//! Where functions begin and end, by the tables for unwinding, which every strip leaves: `.eh_frame`
//! (Linux Standard Base 5.0, Core, 10.6). Programs that are linked statically may have no index of it.

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, EhFrame, EndianSlice, FrameDescriptionEntry, LittleEndian,
    Register, UnwindContext, UnwindSection as _,
};

use crate::resolve::{elf::Elf, sites::Extent};

/// Most functions of a file that are looked at: Chromium has 600,000.
const MOST: usize = 1 << 20;

/// Most functions that are given: some 60 of BoringSSL refer to its source's name.
const SOME: usize = 256;

/// The number of the stack pointer, and where the frame of the caller is in a function's first instruction
/// (System V ABI for AMD64, version 1.0, figure 3.36 and section 3.2.2): the return address is on top.
const STACK: Register = Register(7);
const CALLED: i64 = 8;

type Slice<'d> = EndianSlice<'d, LittleEndian>;

/// The functions that hold some of these addresses, which are in order. Parts of functions that lie
/// elsewhere (`.cold`) count only when they could be called.
pub(super) fn functions(elf: &Elf<'_>, addresses: &[u64]) -> Vec<Extent> {
    let Some((address, data)) = elf.section_at(b".eh_frame") else { return Vec::new() };
    let section = EhFrame::new(data, LittleEndian);
    let bases = BaseAddresses::default().set_eh_frame(address);
    let mut context = UnwindContext::new();
    let mut entries = section.entries(&bases);
    let mut found = Vec::new();
    for _ in 0..MOST {
        // What is malformed is the end.
        let Ok(Some(entry)) = entries.next() else { break };
        let CieOrFde::Fde(entry) = entry else { continue };
        let Ok(entry) = entry.parse(|section, bases, at| section.cie_from_offset(bases, at)) else {
            continue;
        };
        let extent = Extent { address: entry.initial_address(), size: entry.len() };
        if found.len() == SOME {
            break;
        }
        if holds(extent, addresses) && is_called(&entry, &section, &bases, &mut context) {
            found.push(extent);
        }
    }
    found
}

fn holds(extent: Extent, addresses: &[u64]) -> bool {
    let at = addresses.partition_point(|&address| address < extent.address);
    addresses
        .get(at)
        .and_then(|address| address.checked_sub(extent.address))
        .is_some_and(|inside| inside < extent.size)
}

/// Whether the stack pointer is at a return address where the function begins.
fn is_called<'d>(
    entry: &FrameDescriptionEntry<Slice<'d>>,
    section: &EhFrame<Slice<'d>>,
    bases: &BaseAddresses,
    context: &mut UnwindContext<usize>,
) -> bool {
    let begin = entry.initial_address();
    let row = entry.unwind_info_for_address(section, bases, context, begin);
    let called = CfaRule::RegisterAndOffset { register: STACK, offset: CALLED };
    row.is_ok_and(|row| *row.cfa() == called)
}
