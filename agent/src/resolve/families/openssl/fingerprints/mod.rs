//! Functions of OpenSSL and BoringSSL in a file that names none of them: static programs and extensions
//! that were stripped. They are known by where they report errors, which is the same in all versions: an
//! error site names its source file and its function, or has numbers for them (`site.rs`).
//!
//! Comes in: a file in which `ssl_lib.c` or `ssl_lib.cc` is named. Goes out: probes on functions of which
//! each is the only one that it can be, begins where a call begins, and takes as many arguments as it
//! must; other code calls them. Anything else is refused.
//!
//! `SSL_free` reports no error. `SSL_new` is probed for it: an object that it gives is of a new connection, so
//! what was at the same address before has ended. Where `SSL_free` is not found otherwise (`openssl.rs`) that
//! is told only then, or when the process ends.
//!
//! Only for x86-64. Error sites that the compiler has moved out of the function, or whose strings
//! were left out (`no-filenames`), are not found.

mod body;
mod boringssl;
mod openssl;
mod references;
mod scan;
mod site;
mod texts;
mod unwind;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use tlstap_ebpf::Function;

use self::{body::Body, site::Site, texts::Texts};
use crate::resolve::{
    Method, Probe,
    elf::Elf,
    families::exports,
    sites::{Architecture, Extent},
    source::Source,
};

/// A function of a library that was found.
struct Print {
    symbol: &'static str,
    function: Function,
    extent: Extent,
}

impl Print {
    /// One whose arguments are as they must be.
    fn of(body: &Body, symbol: &'static str, function: Function) -> Option<Self> {
        let taken = match function {
            Function::New | Function::Free | Function::Shutdown => 1..=1,
            Function::Read | Function::Write => 3..=3,
            Function::ReadEx | Function::WriteEx => 4..=4,
            // Before 3.2 it has no use for the last.
            Function::Sendfile => 4..=5,
            _ => 5..=5,
        };
        taken.contains(&body.arguments()).then_some(Self { symbol, function, extent: body.extent })
    }
}

/// A function and where it reports errors.
struct Suspect {
    body: Body,
    sites: BTreeSet<Site>,
}

/// The name of the library that a file contains, and the probes.
pub(crate) fn find(elf: &Elf<'_>, file: &Source) -> Option<(&'static str, Vec<Probe>)> {
    if elf.architecture() != Architecture::X86_64 {
        return None;
    }
    // All code was searched, and what another file has there may be one more function.
    elf.rely_on_more();
    let suspects = suspects(elf, file);
    let (name, prints) = match openssl::find(elf, &suspects) {
        Some(prints) => ("openssl", prints),
        None => ("boringssl", boringssl::find(elf, file, &suspects)?),
    };
    if !are_called(elf, file, &prints) {
        return None;
    }
    let probes: Option<Vec<_>> = prints.iter().map(|print| probe(elf, print)).collect();
    Some((name, probes?))
}

fn probe(elf: &Elf<'_>, print: &Print) -> Option<Probe> {
    let Print { symbol, function, extent } = *print;
    Probe::plan(elf, symbol, function, extent, Method::Fingerprint)
}

/// The functions that have error sites of libssl's `ssl_lib`.
fn suspects(elf: &Elf<'_>, file: &Source) -> Vec<Suspect> {
    let texts = Texts::find(elf, file);
    let addresses = texts.addresses();
    let places = places(&references::to(elf, file, &addresses));
    let functions = unwind::functions(elf, &places).into_iter();
    functions
        .filter_map(|extent| Body::decode(elf, extent))
        .map(|body| {
            let calls = body.sites(&addresses).into_iter();
            let sites: BTreeSet<_> =
                calls.filter_map(|constants| Site::of(constants, &texts)).collect();
            Suspect { body, sites }
        })
        .filter(|suspect| !suspect.sites.is_empty())
        .collect()
}

fn places(references: &[references::Reference]) -> Vec<u64> {
    let mut places: Vec<_> = references.iter().map(|reference| reference.place).collect();
    places.sort_unstable();
    places
}

/// Whether something calls functions that read, that write, and that make an object. What is called by
/// nothing, as `SSL_write_ex` in most programs, does no harm.
fn are_called(elf: &Elf<'_>, file: &Source, prints: &[Print]) -> bool {
    let targets: BTreeSet<_> = prints.iter().map(|print| print.extent.address).collect();
    let targets: Vec<_> = targets.into_iter().collect();
    let calls = references::to(elf, file, &targets);
    let called: BTreeSet<_> =
        calls.iter().filter(|call| call.is_call()).map(|call| call.target).collect();
    let functions = || {
        let called = prints.iter().filter(|print| called.contains(&print.extent.address));
        called.map(|print| print.function)
    };
    exports::are_whole(functions()) && functions().any(|function| function == Function::New)
}
