//! Sightings in, libraries with probe points out, or a named reason why not.
//!
//! Knows ELF, symbols, versions and overlay layers; nothing of processes' names or of BPF.

mod branches;
mod elf;
mod families;
mod file;
mod layers;
mod marks;
mod overlay;
mod plans;
mod reason;
mod search;
mod sites;
mod source;
mod symbols;
#[cfg(test)]
mod tests;
mod unwind;

use std::{fs::File, path::Path};

use tlstap_ebpf::{Function, Places};

use elf::Elf;
pub use elf::ElfError;
pub use families::Version;
#[cfg(test)]
pub(crate) use file::identified;
pub use file::{FileKey, OpenError, RealFile, Stamp, open, open_in_root};
pub(crate) use file::{descriptor_path, mount_of, open_file_beneath};
use layers::Layers;
pub use layers::{Given, GivenError, Place};
use plans::Plans;
pub use reason::Reason;
pub use search::{is_named_like_library, libraries};
pub use sites::{
    Class, Site,
    confirm::{Found, look},
};
use source::Source;

use crate::discover;

/// How a function was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By its name among the dynamic symbols.
    Dynsym,
    /// By its name among all symbols.
    Symtab,
    /// By its name among the symbols that are packed into the file.
    GnuDebugdata,
    /// By its name in a debug file.
    DebugFile,
    /// By the address that the user gave.
    Symbols,
    /// As the function that functions found by name call.
    Callee,
    /// By its name in the table that Go's runtime finds functions by.
    Pclntab,
    /// As one of those that the library puts into a table of methods.
    Table,
    /// By the errors that it reports, in a file without symbols for it.
    Fingerprint,
}

impl Method {
    /// The fixed word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dynsym => "dynsym",
            Self::Symtab => "symtab",
            Self::GnuDebugdata => "gnu_debugdata",
            Self::DebugFile => "debug-file",
            Self::Symbols => "symbols",
            Self::Callee => "callee",
            Self::Pclntab => "pclntab",
            Self::Table => "table",
            Self::Fingerprint => "fingerprint",
        }
    }
}

/// Where a probe goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The function's name in the library.
    pub symbol: &'static str,
    /// Its arguments and result.
    pub function: Function,
    /// Offset of its first instruction in the file, bytes.
    pub offset: u64,
    /// How it was found.
    pub method: Method,
    /// Which of its instructions is probed.
    pub site: Site,
    /// Where the arguments are, near the end of a function.
    pub places: Places,
}

impl Probe {
    /// Offset of the probed instruction in the file, bytes.
    pub const fn site_offset(&self) -> u64 {
        self.offset.saturating_add(self.site.offset)
    }

    /// The probe on a function of the file, at the best site; `None` when there is no code.
    fn plan(
        elf: &Elf<'_>,
        symbol: &'static str,
        function: Function,
        extent: sites::Extent,
        method: Method,
    ) -> Option<Self> {
        let offset = elf.code_offset(extent.address)?;
        let site = sites::plan(elf, extent, sites::Needs::of(function));
        Some(Self { symbol, function, offset, method, site, places: Places::default() })
    }

    /// The probes near the ends of a function that reads, which has no symbol.
    fn ends(elf: &Elf<'_>, symbol: &'static str, function: u64) -> Option<Vec<Self>> {
        let ends = sites::ends::plan(elf, function)?;
        let probe = |(address, places): (u64, Places)| {
            let offset = elf.code_offset(ends.function)?;
            let from_there = elf.code_offset(address)?.checked_sub(offset)?;
            let site = Site { offset: from_there, class: Class::Emulated };
            let (function, method) = (Function::ReadEnd, Method::Callee);
            Some(Self { symbol, function, offset, method, site, places })
        };
        ends.sites.into_iter().map(probe).collect()
    }
}

/// What a file turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// It contains a TLS library, with these probe points.
    Library {
        /// `openssl`, …
        name: &'static str,
        /// Where the probes go; never empty.
        probes: Vec<Probe>,
    },
    /// It contains TLS code that is not probed.
    Skipped {
        /// The library, where it is known.
        name: Option<&'static str>,
        /// Why.
        reason: Reason,
    },
    /// It has nothing to do with TLS.
    Unrelated,
}

/// Finds the TLS functions of files, and remembers those of known builds.
#[derive(Debug, Default)]
pub struct Resolver {
    plans: Plans,
    layers: Layers,
}

impl Resolver {
    /// One for the processes of a /proc, with symbols that the user gives.
    pub fn new(proc: &Path, given: Given) -> Self {
        let host = Some(discover::host(proc).join("root"));
        Self { plans: Plans::default(), layers: Layers { host, given } }
    }

    /// Finds the TLS functions of an open file, which was found at this place.
    pub fn resolve(&mut self, file: &File, place: Option<&Place>) -> Resolution {
        match file.try_clone() {
            Ok(file) => self.resolve_source(&Source::new(file), place),
            Err(_) => Resolution::Skipped { name: None, reason: Reason::Unreadable },
        }
    }

    fn resolve_source(&mut self, source: &Source, place: Option<&Place>) -> Resolution {
        let mut elf = match Elf::parse(source) {
            Ok(elf) => elf,
            // Programs map data executable too; what is no ELF file is no library.
            Err(ElfError::NotElf) => return Resolution::Unrelated,
            Err(ElfError::Architecture) => return marks::foreign(source),
            Err(ElfError::Malformed) => {
                return Resolution::Skipped { name: None, reason: Reason::Unreadable };
            }
        };
        if let Some(known) = self.plans.find(source, &elf) {
            return known;
        }
        self.layers.complete(source, &mut elf, place);
        let resolution = match families::find(&elf) {
            Some((family, probes)) => Resolution::Library { name: family.name, probes },
            None => unnamed(&elf, source),
        };
        if !matches!(resolution, Resolution::Library { .. }) {
            return resolution;
        }
        self.plans.add(source, &elf, &resolution);
        resolution
    }
}

/// What a file is in which no function of a library has its name: one may be found all the same.
fn unnamed(elf: &Elf<'_>, source: &Source) -> Resolution {
    let marks = marks::recognise(elf);
    if let Some((name, probes)) = families::find_marked(&marks, elf, source) {
        return Resolution::Library { name, probes };
    }
    marks.first().map_or(Resolution::Unrelated, |&mark| marks::skipped(elf, mark))
}

/// Finds the TLS functions of an open file.
#[cfg(test)]
pub(crate) fn resolve(file: &File) -> Resolution {
    Resolver::default().resolve(file, None)
}

/// The probe on the function of an open file that takes ciphertext from a TLS library.
pub fn ciphertext(file: &File) -> Option<Probe> {
    let source = Source::new(file.try_clone().ok()?);
    families::ciphertext(&Elf::parse(&source).ok()?)
}

/// The version of a family's library that an open file tells: one that contains the library, or its
/// companion.
pub fn version(file: &File, family: &str) -> Option<Version> {
    let source = Source::new(file.try_clone().ok()?);
    (families::named(family)?.version)(&Elf::parse(&source).ok()?)
}

/// What the name begins with of files that carry the versions of a family's libraries.
pub fn companion(family: &str) -> Option<&'static str> {
    families::named(family)?.companion
}

/// The name of the file beside a library that carries its version: its companion's, or its own.
pub fn version_beside(family: &str, library: &str) -> Option<String> {
    let family = families::named(family)?;
    let Some(companion) = family.companion else { return Some(library.to_owned()) };
    let rest = family.libraries.iter().find_map(|begin| library.strip_prefix(begin))?;
    Some(format!("{companion}{rest}"))
}
