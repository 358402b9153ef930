//! The functions of a family that a file defines, found by name.

use tlstap_ebpf::{Function, direction};

use super::VOCABULARY;
use crate::resolve::{
    Probe,
    elf::Elf,
    sites::Extent,
    symbols::{Symbol, Vocabulary},
};

/// A function of a family: its name, its arguments and result.
pub(super) type Named = (&'static str, Function);

/// The names in a table.
pub(super) fn names(table: &[Named]) -> Vec<&'static str> {
    table.iter().map(|(name, _)| *name).collect()
}

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

/// Those of `table` that a file defines, in the table's order. The tables of symbols are gone through
/// once for all families, if theirs are among [`Family::names`](super::Family::names).
pub(super) fn of<'d>(elf: &Elf<'d>, table: &[Named]) -> Vec<Export<'d>> {
    let unknown =
        || table.iter().map(|(name, _)| *name).filter(|name| VOCABULARY.known(name).is_none());
    let others = unknown().next().map(|_| elf.symbols_of(&Vocabulary::new(unknown(), &[])));
    let named = |name| {
        elf.symbols().named(name).or_else(|| others.as_ref().and_then(|others| others.named(name)))
    };
    table
        .iter()
        .filter_map(|&(name, function)| named(name).map(|symbol| Export { name, function, symbol }))
        .collect()
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
