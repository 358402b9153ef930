//! The functions of a family that a file defines, found by name.

use tlstap_ebpf::{Function, direction};

use crate::resolve::{
    Probe,
    elf::{Elf, Symbol},
    sites::Extent,
};

/// A function of a family: its name, its arguments and result.
pub(super) type Named = (&'static str, Function);

/// A function of a family that a file defines.
pub(super) struct Export<'d> {
    pub(super) name: &'static str,
    pub(super) function: Function,
    pub(super) symbol: Symbol<'d>,
}

impl Export<'_> {
    pub(super) fn probe(&self, elf: &Elf<'_>) -> Option<Probe> {
        let Self { name, function, symbol: Symbol { address, size, method, .. } } = *self;
        Probe::plan(elf, name, function, Extent { address, size }, method)
    }
}

/// Those of `table` that a file defines, in the table's order.
pub(super) fn of<'d>(elf: &Elf<'d>, table: &[Named]) -> Vec<Export<'d>> {
    let mut found: Vec<Option<Symbol<'d>>> = vec![None; table.len()];
    for symbol in elf.functions() {
        let known = table.iter().position(|(name, _)| name.as_bytes() == symbol.name);
        // A symbol stands in .dynsym and .symtab, or in several versions.
        if let Some(place) = known.and_then(|index| found.get_mut(index)) {
            place.get_or_insert(symbol);
        }
    }
    let export = |(&(name, function), symbol): (&Named, Option<_>)| {
        symbol.map(|symbol| Export { name, function, symbol })
    };
    table.iter().zip(found).filter_map(export).collect()
}

/// The probes on those of `table` that a file defines; empty when they do not move bytes both ways.
pub(super) fn probes(elf: &Elf<'_>, table: &[Named]) -> Vec<Probe> {
    let probes: Vec<_> = of(elf, table).iter().filter_map(|export| export.probe(elf)).collect();
    let whole = are_whole(probes.iter().map(|probe| probe.function));
    if whole { probes } else { Vec::new() }
}

/// Whether some functions hand plaintext over, and some hand it back.
pub(super) fn are_whole(functions: impl Iterator<Item = Function> + Clone) -> bool {
    let carry = |wanted| {
        functions
            .clone()
            .any(|function| function.carries_payload() && function.direction() == wanted)
    };
    carry(direction::TRANSMIT) && carry(direction::RECEIVE)
}
