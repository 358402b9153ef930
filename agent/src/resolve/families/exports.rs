//! Families whose functions are all found by name, and stand for themselves.

use tlstap_ebpf::{Function, direction};

use crate::resolve::{
    Probe,
    elf::{Elf, Symbol},
    sites::Extent,
};

/// A function of a family: its name, its arguments and result.
pub(super) type Named = (&'static str, Function);

/// The probes on the functions of `table` that a file defines, in the table's order. Empty when none
/// of them hands plaintext over, or none hands it back.
pub(super) fn probes(elf: &Elf<'_>, table: &[Named]) -> Vec<Probe> {
    let mut found: Vec<Option<Symbol<'_>>> = vec![None; table.len()];
    for symbol in elf.functions() {
        let known = table.iter().position(|(name, _)| name.as_bytes() == symbol.name);
        // A symbol stands in .dynsym and .symtab, or in several versions.
        if let Some(place) = known.and_then(|index| found.get_mut(index)) {
            place.get_or_insert(symbol);
        }
    }
    let probes: Vec<_> = table
        .iter()
        .zip(found)
        .filter_map(|(&(name, function), symbol)| {
            let Symbol { address, size, method, .. } = symbol?;
            Probe::plan(elf, name, function, Extent { address, size }, method)
        })
        .collect();
    let carries = |wanted| {
        probes
            .iter()
            .any(|probe| probe.function.carries_payload() && probe.function.direction() == wanted)
    };
    let whole = carries(direction::TRANSMIT) && carries(direction::RECEIVE);
    if whole { probes } else { Vec::new() }
}
