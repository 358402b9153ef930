//! OpenSSL by the functions that its error sites name.
//!
//! `SSL_read` goes through `ssl_read_internal` since 1.1.1, which the compiler may have put into it, into
//! `SSL_read_ex`, and left beside them: then all three have the sites of `ssl_read_internal`. The same is true of
//! writes. Each is probed, so none is missed; which of them has four arguments, and which five, its
//! code says.

use tlstap_ebpf::Function;

use super::{Print, Suspect, site::Site, texts::Name};

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

pub(super) fn find(suspects: &[Suspect]) -> Option<Vec<Print>> {
    let mut prints = side(suspects, &WRITE)?;
    prints.extend(side(suspects, &READ)?);
    prints.push(new(suspects)?);
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

fn side(suspects: &[Suspect], side: &Side) -> Option<Vec<Print>> {
    let (name, symbol, function) = side.plain;
    let mut found = naming(suspects, name);
    let plain = found.next().filter(|_| found.next().is_none())?;
    let inner: Vec<_> = naming(suspects, side.internal.0).collect();
    let is_plain = |suspect: &&Suspect| suspect.body.extent.address == plain.body.extent.address;
    let mut others = inner.iter().filter(|suspect| !is_plain(suspect));
    if inner.len() > COPIES {
        return None;
    }
    let own = || Print::of(&plain.body, symbol, function);
    // It has no other behind it (1.0, 1.1.0), has it within itself, or calls it.
    let covered = !inner.is_empty() && !inner.iter().any(|suspect| is_plain(suspect));
    if covered && !others.clone().any(|other| plain.body.calls(other.body.extent.address)) {
        return None;
    }
    let layout = |suspect: &&Suspect| {
        side.layouts
            .iter()
            .find_map(|&function| Print::of(&suspect.body, side.internal.1, function))
    };
    let mut prints: Vec<Print> = others.by_ref().map(layout).collect::<Option<_>>()?;
    if !covered {
        prints.push(own()?);
    }
    Some(prints)
}
