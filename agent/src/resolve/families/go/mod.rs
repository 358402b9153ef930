//! Go's own TLS, `crypto/tls`, in programs of Go 1.17 and later on x86-64.
//!
//! The functions of a `Conn` that carry plaintext are methods that everything goes through, `net/http`
//! and gRPC too. A handshake begins a connection, `Close` ends it.

mod buildinfo;
mod pclntab;
#[cfg(test)]
mod tests;

use tlstap_ebpf::Function;

use super::{Family, Version};
use crate::resolve::{
    Method, Probe, Reason,
    elf::Elf,
    sites::{
        Architecture, Code, Extent, Site,
        go::{Plan, plan},
    },
};
use pclntab::Pclntab;

pub(super) const FAMILY: Family =
    Family { name: "go", libraries: &[], companion: None, probes, names: Vec::new, version };

/// Whose returns are probed, and then their entries. A program has the handshake of the sides that it
/// takes.
const FUNCTIONS: [(&str, Function); 5] = [
    ("crypto/tls.(*Conn).Write", Function::GoWrite),
    ("crypto/tls.(*Conn).Read", Function::GoRead),
    ("crypto/tls.(*Conn).clientHandshake", Function::GoHandshake),
    ("crypto/tls.(*Conn).serverHandshake", Function::GoHandshake),
    ("crypto/tls.(*Conn).Close", Function::GoClose),
];

fn probes(elf: &Elf<'_>) -> Vec<Probe> {
    find(elf).unwrap_or_default()
}

/// Why a file with Go's TLS is not probed. `None`: it has none.
pub(crate) fn refusal(elf: &Elf<'_>) -> Option<Reason> {
    find(elf).err()?
}

fn find(elf: &Elf<'_>) -> Result<Vec<Probe>, Option<Reason>> {
    let Some(table) = Pclntab::of(elf) else {
        return Err(pclntab::is_in(elf).then_some(Reason::Unreadable));
    };
    let extents = table.find(FUNCTIONS.map(|(name, _)| name));
    let [Some(_), Some(_), ..] = extents else { return Err(None) };
    if elf.architecture() != Architecture::X86_64 {
        return Err(Some(Reason::UnsupportedLibrary));
    }
    planned(elf, extents).ok_or(Some(Reason::Unsafe))
}

/// The probes on the functions, if all that are there are understood.
fn planned(elf: &Elf<'_>, extents: [Option<Extent>; 5]) -> Option<Vec<Probe>> {
    let [Some(_), Some(_), client, server, Some(_)] = extents else { return None };
    client.or(server)?;
    let (mut exits, mut entries) = (Vec::new(), Vec::new());
    for ((symbol, function), extent) in FUNCTIONS.into_iter().zip(extents) {
        let Some(extent) = extent else { continue };
        let offset = elf.code_offset(extent.address)?;
        let plan: Plan = plan(&Listed(elf), extent)?;
        let probe = |function, site: Site| {
            let (method, places) = (Method::Pclntab, Default::default());
            Probe { symbol, function, offset, method, site, places }
        };
        entries.push(probe(function, plan.entry));
        if function != Function::GoClose {
            exits.extend(plan.exits.into_iter().map(|site| probe(Function::GoReturn, site)));
        }
    }
    // A call without its return would stay in flight.
    exits.extend(entries);
    Some(exits)
}

/// Code whose functions are known from Go's table: none begins inside another, and no list of symbols
/// needs to be read.
struct Listed<'a, 'd>(&'a Elf<'d>);

impl Code for Listed<'_, '_> {
    fn architecture(&self) -> Architecture {
        self.0.architecture()
    }

    fn bytes(&self, address: u64, len: u64) -> Option<&[u8]> {
        self.0.code(address, len)
    }

    fn begins_in(&self, _: &std::ops::Range<u64>) -> bool {
        false
    }
}

fn version(elf: &Elf<'_>) -> Option<Version> {
    Some(("go", buildinfo::version(elf.section(b".go.buildinfo")?, elf)?))
}
