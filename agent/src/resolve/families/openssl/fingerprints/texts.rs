//! The strings that error sites of libssl name themselves by.

use memchr::memmem::Finder;

use crate::resolve::{
    elf::{Elf, Segment},
    source::Source,
};

use super::scan;

/// What OpenSSL 3 and later tell of themselves where they report an error: `__func__` (include/openssl/err.h,
/// `ERR_raise`).
const NAMES: [(&[u8], Name); 8] = [
    (b"\0SSL_read\0", Name::Read),
    (b"\0SSL_write\0", Name::Write),
    (b"\0ssl_read_internal\0", Name::ReadInternal),
    (b"\0ssl_write_internal\0", Name::WriteInternal),
    (b"\0SSL_new\0", Name::New),
    (b"\0ossl_ssl_connection_new_int\0", Name::NewInner),
    (b"\0SSL_shutdown\0", Name::Shutdown),
    (b"\0SSL_sendfile\0", Name::Sendfile),
];

/// `__FILE__`, of OpenSSL and of BoringSSL: its end, whatever folder the compiler was started in.
const FILES: [(&[u8], Line); 2] =
    [(b"ssl_lib.c\0", Line::OpenSsl), (b"ssl_lib.cc\0", Line::BoringSsl)];

/// Longest path of a source file that is taken for one.
const LONGEST: usize = 512;

/// Most places that are kept: a library has one of each.
const MOST: usize = 256;

/// A function whose error sites are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    Read,
    Write,
    ReadInternal,
    WriteInternal,
    New,
    /// What the object is made by, since 3.2.
    NewInner,
    Shutdown,
    Sendfile,
}

/// A line of libraries, by the language of its sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    OpenSsl,
    BoringSsl,
}

/// Where the strings are, by address.
#[derive(Default)]
pub(super) struct Texts {
    names: Vec<(u64, Name)>,
    files: Vec<(u64, Line)>,
}

impl Texts {
    pub(super) fn find(elf: &Elf<'_>, file: &Source) -> Self {
        let names = NAMES.map(|(text, name)| (Finder::new(text), name));
        let files = FILES.map(|(text, line)| (Finder::new(text), line));
        let mut found = Self::default();
        scan::pieces(file, constant(elf), LONGEST, |address, piece| {
            for (finder, name) in &names {
                let places =
                    finder.find_iter(piece).map(|at| (address.wrapping_add(at as u64 + 1), *name));
                add(&mut found.names, places);
            }
            for (finder, line) in &files {
                let begin = |at| path(piece.get(..at)?);
                let places = finder.find_iter(piece).filter_map(begin);
                add(&mut found.files, places.map(|at| (address.wrapping_add(at as u64), *line)));
            }
        });
        found
    }

    /// All addresses, in order.
    pub(super) fn addresses(&self) -> Vec<u64> {
        let names = self.names.iter().map(|&(address, _)| address);
        let mut all: Vec<_> = names.chain(self.files.iter().map(|&(address, _)| address)).collect();
        all.sort_unstable();
        all
    }

    pub(super) fn name(&self, address: u64) -> Option<Name> {
        self.names.iter().find(|known| known.0 == address).map(|&(_, name)| name)
    }

    pub(super) fn file(&self, address: u64) -> Option<Line> {
        self.files.iter().find(|known| known.0 == address).map(|&(_, line)| line)
    }
}

/// Where constants are: apart from code, or with it if nothing is apart.
fn constant(elf: &Elf<'_>) -> impl Iterator<Item = Segment> {
    let is_apart = |segment: &Segment| !segment.writable && !segment.executable;
    let apart = elf.segments().any(|segment| is_apart(&segment));
    elf.segments().filter(move |segment| match apart {
        true => is_apart(segment),
        false => !segment.writable,
    })
}

/// Pieces overlap, so that a place may come twice.
fn add<T: Copy + PartialEq>(all: &mut Vec<T>, places: impl Iterator<Item = T>) {
    for place in places {
        if all.len() < MOST && !all.contains(&place) {
            all.push(place);
        }
    }
}

/// Where the path begins that ends in a folder `ssl`, or is only a name, before this.
fn path(before: &[u8]) -> Option<usize> {
    let start = memchr::memrchr(0, before)? + 1;
    let folder = before.get(start..)?;
    let known = folder.is_empty() || folder.ends_with(b"ssl/") || folder.ends_with(b"ssl\\");
    (known && folder.len() < LONGEST).then_some(start)
}
