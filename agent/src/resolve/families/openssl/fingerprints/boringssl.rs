//! BoringSSL and AWS-LC by the reasons of their errors, which have kept their numbers, and the order of their
//! functions in `ssl_lib.cc`: `SSL_read`, `SSL_peek`, `SSL_write`.
//!
//! `SSL_peek` has one site, `SSL_read` calls it and takes the bytes away; the compiler may have put the one into the
//! other. What takes stores something. AWS-LC has a site more in each function.

use std::collections::BTreeSet;

use tlstap_ebpf::Function;

use super::{Print, Suspect, body::Body, references, site::Site, unwind};
use crate::resolve::{elf::Elf, source::Source};

/// `ERR_R_SHOULD_NOT_HAVE_BEEN_CALLED` (include/openssl/err.h).
const NOT_CALLED: u64 = 66;
/// `SSL_R_…` (include/openssl/ssl.h).
const BAD_LENGTH: u64 = 111;
const NULL_SSL_CTX: u64 = 185;
const HANDSHAKE_FAILURE: u64 = 215;
const UNINITIALIZED: u64 = 226;
const DATA_ON_SHUTDOWN: u64 = 291;

const READ: &str = "SSL_read";

/// Arguments of `SSL_read_ex` and its like.
const EX: usize = 4;

pub(super) fn find(elf: &Elf<'_>, file: &Source, suspects: &[Suspect]) -> Option<Vec<Print>> {
    let write = only(suspects, &[BAD_LENGTH, HANDSHAKE_FAILURE, UNINITIALIZED])?;
    let mut prints = vec![Print::of(&write.body, "SSL_write", Function::Write)?];
    prints.push(read(elf, file, suspects, write)?);
    let new = only(suspects, &[NULL_SSL_CTX])?;
    prints.push(Print::of(&new.body, "SSL_new", Function::New)?);
    let shutdown = only(suspects, &[DATA_ON_SHUTDOWN]);
    prints.extend(
        shutdown.and_then(|found| Print::of(&found.body, "SSL_shutdown", Function::Shutdown)),
    );
    Some(prints)
}

/// The only function that has all of these reasons.
fn only<'s>(suspects: &'s [Suspect], reasons: &[u64]) -> Option<&'s Suspect> {
    let mut found = suspects
        .iter()
        .filter(|suspect| reasons.iter().all(|&reason| lines(suspect, reason).next().is_some()));
    found.next().filter(|_| found.next().is_none())
}

fn lines(suspect: &Suspect, wanted: u64) -> impl Iterator<Item = u64> {
    suspect.sites.iter().filter_map(move |site| match *site {
        Site::Reason(reason, line) if reason == wanted => Some(line),
        _ => None,
    })
}

/// By the error sites before those of `SSL_write` in the source.
fn read(elf: &Elf<'_>, file: &Source, suspects: &[Suspect], write: &Suspect) -> Option<Print> {
    let end = lines(write, BAD_LENGTH).min()?;
    let own: Vec<_> = lines(write, NOT_CALLED).collect();
    let all = suspects.iter().flat_map(|suspect| lines(suspect, NOT_CALLED));
    let before: BTreeSet<_> = all.filter(|line| *line < end && !own.contains(line)).collect();
    before.into_iter().rev().find_map(|line| {
        let with = |suspect: &&Suspect| lines(suspect, NOT_CALLED).any(|other| other == line);
        let bodies: Vec<_> = suspects.iter().filter(with).map(|suspect| &suspect.body).collect();
        match *bodies {
            // `SSL_peek_ex`, which AWS-LC has.
            [body] if body.arguments() == EX => None,
            [body] => Some(caller(elf, file, suspects, body)),
            [one, other] if one.stores() != other.stores() => {
                let read = if one.stores() { one } else { other };
                Some(Print::of(read, READ, Function::Read))
            }
            _ => Some(None),
        }
    })?
}

/// The only function like `SSL_read` that calls `SSL_peek`, of those beside it.
fn caller(elf: &Elf<'_>, file: &Source, suspects: &[Suspect], peek: &Body) -> Option<Print> {
    Print::of(peek, READ, Function::Read).filter(|_| !peek.stores())?;
    let addresses = || suspects.iter().map(|suspect| suspect.body.extent.address);
    let source = addresses().min()?..addresses().max()?;
    let calls = references::to(elf, file, &[peek.extent.address]);
    let calls: Vec<_> = calls.into_iter().filter(references::Reference::is_call).collect();
    let callers = unwind::functions(elf, &super::places(&calls)).into_iter();
    let mut found = callers
        .filter(|extent| source.contains(&extent.address))
        .filter_map(|extent| Body::decode(elf, extent))
        .filter(|body| body.stores())
        .filter(|body| match body.arguments() {
            3 => body.calls(peek.extent.address),
            // The others are where they were.
            1 => body.hands_on(peek.extent.address),
            _ => false,
        });
    let only = found.next().filter(|_| found.next().is_none())?;
    Some(Print { symbol: READ, function: Function::Read, extent: only.extent })
}
