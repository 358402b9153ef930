//! OpenSSL by the functions that its error sites name.
//!
//! `SSL_read` goes through `ssl_read_internal` since 1.1.1, which the compiler may have put into it, into
//! `SSL_read_ex`, and left beside them: then all three have the sites of `ssl_read_internal`. The same is true of
//! writes. Each is probed, so none is missed; which of them has four arguments, and which five, its
//! code says.

use std::collections::BTreeSet;

use tlstap_ebpf::Function;

use super::{Print, Suspect, body::Body, site::Site, texts::Name, unwind};
use crate::resolve::elf::Elf;

/// Most functions that one may have been put into: three that write, and itself.
const COPIES: usize = 4;

/// One direction.
struct Side {
    plain: (Name, &'static str, Function),
    internal: (Name, &'static str),
    /// What the internal one may be like, by the number of its arguments.
    layouts: &'static [Function],
}

const WRITE: Side = Side {
    plain: (Name::Write, "SSL_write", Function::Write),
    internal: (Name::WriteInternal, "ssl_write_internal"),
    layouts: &[Function::WriteEx, Function::WriteEx2],
};

const READ: Side = Side {
    plain: (Name::Read, "SSL_read", Function::Read),
    internal: (Name::ReadInternal, "ssl_read_internal"),
    layouts: &[Function::ReadEx],
};

/// What is probed beside, where it is found.
const REST: [(Name, &str, Function); 2] = [
    (Name::Sendfile, "SSL_sendfile", Function::Sendfile),
    (Name::Shutdown, "SSL_shutdown", Function::Shutdown),
];

pub(super) fn find(elf: &Elf<'_>, suspects: &[Suspect]) -> Option<Vec<Print>> {
    let mut prints = side(suspects, &WRITE)?;
    prints.extend(side(suspects, &READ)?);
    prints.push(new(suspects)?);
    prints.extend(free(elf, suspects));
    for (name, symbol, function) in REST {
        let mut found = naming(suspects, name);
        let only = found.next().filter(|_| found.next().is_none());
        prints.extend(only.and_then(|only| Print::of(&only.body, symbol, function)));
    }
    Some(prints)
}

/// `SSL_new` may have been put into `SSL_dup`, which is longer by what it does itself.
fn new(suspects: &[Suspect]) -> Option<Print> {
    let shortest = naming(suspects, Name::New).min_by_key(|suspect| suspect.body.extent.size)?;
    Print::of(&shortest.body, "SSL_new", Function::New)
}

fn naming(suspects: &[Suspect], name: Name) -> impl Iterator<Item = &Suspect> {
    suspects.iter().filter(move |suspect| suspect.sites.contains(&Site::Named(name)))
}

/// `SSL_free`, which what makes an object calls when it fails: of its callees the only one that first gives back a
/// reference to its argument.
fn free(elf: &Elf<'_>, suspects: &[Suspect]) -> Option<Print> {
    let makers = [Name::New, Name::NewInner].map(|name| naming(suspects, name));
    let callees = makers.into_iter().flatten().flat_map(|suspect| suspect.body.callees());
    let callees: BTreeSet<_> = callees.collect();
    let functions = unwind::functions(elf, &callees.iter().copied().collect::<Vec<_>>());
    let mut found = functions
        .into_iter()
        .filter(|extent| callees.contains(&extent.address))
        .filter_map(|extent| Body::decode(elf, extent))
        .filter(Body::gives_back);
    let only = found.next().filter(|_| found.next().is_none())?;
    Print::of(&only, "SSL_free", Function::Free)
}

fn side(suspects: &[Suspect], side: &Side) -> Option<Vec<Print>> {
    let (name, symbol, function) = side.plain;
    let mut found = naming(suspects, name);
    let plain = &found.next().filter(|_| found.next().is_none())?.body;
    let inner = naming(suspects, side.internal.0).map(|suspect| &suspect.body);
    let (own, others): (Vec<_>, Vec<_>) =
        inner.partition(|body| body.extent.address == plain.extent.address);
    if others.len() >= COPIES {
        return None;
    }
    // It has no other behind it (1.0, 1.1.0), has it within itself, or calls it.
    let whole = others.is_empty() || !own.is_empty();
    if !whole && !others.iter().any(|other| plain.calls(other.extent.address)) {
        return None;
    }
    let layout = |body: &&Body| {
        side.layouts.iter().find_map(|&function| Print::of(body, side.internal.1, function))
    };
    let mut prints = others.iter().map(layout).collect::<Option<Vec<_>>>()?;
    if whole {
        prints.push(Print::of(plain, symbol, function)?);
    }
    Some(prints)
}
