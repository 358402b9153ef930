//! Sightings in, libraries with probe points out, or a named reason why not.
//!
//! Knows ELF, symbols, versions and overlay layers; nothing of processes' names or of BPF.

mod branches;
mod elf;
mod families;
mod file;
mod marks;
mod overlay;
mod reason;
mod search;
mod sites;

use std::fs::File;

use object::read::ReadCache;
use tlstap_ebpf::{Function, Places};

pub use elf::ElfError;
pub use families::Version;
pub(crate) use file::descriptor_path;
pub use file::{FileKey, OpenError, RealFile, Stamp, open, open_in_root};
pub use reason::Reason;
pub use search::libraries;
pub use sites::{Class, Site};

/// How a function was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By its name among the dynamic symbols.
    Dynsym,
    /// By its name among all symbols.
    Symtab,
    /// As the function that functions found by name call.
    Callee,
    /// By the errors that it reports, in a file without symbols for it.
    Fingerprint,
}

impl Method {
    /// The fixed word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dynsym => "dynsym",
            Self::Symtab => "symtab",
            Self::Callee => "callee",
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
        elf: &elf::Elf<'_>,
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
    fn ends(elf: &elf::Elf<'_>, symbol: &'static str, function: u64) -> Option<Vec<Self>> {
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

/// Finds the TLS functions of an open file.
pub fn resolve(file: &File) -> Resolution {
    let Ok(cached) = file.try_clone() else {
        return Resolution::Skipped { name: None, reason: Reason::Unreadable };
    };
    let cache = ReadCache::new(cached);
    let elf = match elf::Elf::parse(&cache) {
        Ok(elf) => elf,
        // Programs map data executable too; what is no ELF file is no library.
        Err(ElfError::NotElf) => return Resolution::Unrelated,
        Err(ElfError::Architecture) => return marks::foreign(&cache),
        Err(ElfError::Malformed) => {
            return Resolution::Skipped { name: None, reason: Reason::Unreadable };
        }
    };
    match families::find(&elf) {
        Some((family, probes)) => Resolution::Library { name: family.name, probes },
        None => unnamed(&elf, file, marks::recognise(&elf)),
    }
}

/// What a file is in which nothing has a name: a library that is stripped may be found all the same.
fn unnamed(elf: &elf::Elf<'_>, file: &File, recognised: Resolution) -> Resolution {
    if !matches!(recognised, Resolution::Skipped { reason: Reason::Stripped, .. }) {
        return recognised;
    }
    match families::fingerprints(elf, file) {
        Some((name, probes)) => Resolution::Library { name, probes },
        None => recognised,
    }
}

/// The probe on the function of an open file that takes ciphertext from a TLS library.
pub fn ciphertext(file: &File) -> Option<Probe> {
    let cache = ReadCache::new(file.try_clone().ok()?);
    families::ciphertext(&elf::Elf::parse(&cache).ok()?)
}

/// The version of a family's library that an open file tells: one that contains the library, or its
/// companion.
pub fn version(file: &File, family: &str) -> Option<Version> {
    let cache = ReadCache::new(file.try_clone().ok()?);
    (families::named(family)?.version)(&elf::Elf::parse(&cache).ok()?)
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
