//! Symbols of a file that are not in its own tables: packed into it, in a file beside it, or given by
//! the user. Asked in this order, until one names a function of a TLS library.
//!
//! What lies beside a file may be of somebody else than the file: another container can have the
//! same one, from a layer that they share. So it is believed only where the file's own tables for
//! unwinding say that a function begins.

mod beside;
mod given;
mod packed;

use std::path::{Path, PathBuf};

pub use given::{Given, GivenError};

use super::{
    Method,
    elf::Elf,
    families::VOCABULARY,
    source::Source,
    symbols::{Symbols, Table},
    unwind,
};
use crate::discover::Mapping;

/// Where a file was found.
#[derive(Clone, Debug)]
pub struct Place {
    /// The directory of the host that is the root which it was found in.
    pub root: PathBuf,
    /// Its path in there.
    pub path: PathBuf,
}

impl Place {
    /// Where a process has mapped a file from.
    pub fn of(proc: &Path, pid: u32, mapping: &Mapping) -> Self {
        let root = proc.join(pid.to_string()).join("root");
        Self { root, path: mapping.path.as_container_path().to_owned() }
    }
}

/// What there is beside the files themselves.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// The host's root.
    pub(super) host: Option<PathBuf>,
    pub(super) given: Given,
}

#[derive(Clone, Copy)]
enum Layer {
    Packed,
    Beside,
    Given,
}

impl Layers {
    /// Adds to a file's symbols those that it does not have itself.
    pub(super) fn complete(&self, source: &Source, elf: &mut Elf<'_>, place: Option<&Place>) {
        for layer in [Layer::Packed, Layer::Beside, Layer::Given] {
            if elf.symbols().names_any() {
                return;
            }
            let symbols = match layer {
                Layer::Packed => packed::symbols(source, elf),
                Layer::Beside => self.beside(source, elf, place),
                Layer::Given => self.given(elf),
            };
            if let Some(symbols) = symbols {
                elf.learn(symbols);
            }
        }
    }

    fn given(&self, elf: &Elf<'_>) -> Option<Symbols> {
        proven(elf, self.given.symbols(&elf.build_id()?), Method::Symbols)
    }

    /// Those of debug files, in the file's own root and the host's. What the former leaves out or lies
    /// about, the latter may have.
    fn beside(&self, source: &Source, elf: &Elf<'_>, place: Option<&Place>) -> Option<Symbols> {
        let Place { root, path } = place?;
        let of_host = |host: &PathBuf| beside::symbols_of_host(source, elf, host, path);
        let found =
            [beside::symbols(source, elf, root, path), self.host.as_ref().and_then(of_host)];
        found.into_iter().filter_map(|symbols| proven(elf, symbols, Method::DebugFile)).reduce(
            |mut own, hosts| {
                own.merge(hosts);
                own
            },
        )
    }
}

/// Those symbols that the file itself says are functions.
fn proven(elf: &Elf<'_>, symbols: Option<Symbols>, method: Method) -> Option<Symbols> {
    let mut symbols = symbols?;
    let begin = unwind::beginning(elf, &symbols.addresses());
    let refused = symbols.prove(&begin);
    if refused > 0 {
        let method = method.as_str();
        tracing::info!(refused, method, "symbols at which no function begins are left out");
    }
    Some(symbols)
}

/// The functions that the tables of another file name.
fn of_tables(source: &Source, elf: &Elf<'_>, method: Method) -> Symbols {
    let tables = elf.tables().into_iter().map(|table| Table { method, ..table });
    Symbols::of(&VOCABULARY, source, &tables.collect::<Vec<_>>())
}

/// The directory that a path lies in, without what begins it.
fn folder(path: &Path) -> &Path {
    let path = path.strip_prefix("/").unwrap_or(path);
    path.parent().unwrap_or(path)
}
