use std::{fs, io::Write as _};

use tlstap_ebpf::{Function, Places};

use super::*;
use crate::resolve::{Class, Method, Site, identified};

/// A program for x86-64 with a `push` at 64.
fn program() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut bytes = vec![0; 80];
    bytes[18] = 62;
    bytes[64] = 0x55;
    file.write_all(&bytes).unwrap();
    file
}

fn probe(function: Function, offset: u64) -> Probe {
    let site = Site { offset: 0, class: Class::Emulated };
    let places = Places::default();
    Probe { symbol: "SSL_write", function, offset, method: Method::Dynsym, site, places }
}

const SAFE: Guard = Guard { returns: Outcome::Survived, replaced: Outcome::Survived };

#[test]
fn what_is_as_it_was_is_permitted() {
    let file = program();
    let real = identified(file.path());
    let probes = [probe(Function::Write, 64), probe(Function::Free, 64)];
    assert_eq!(SAFE.permit(&real, &probes), Ok(()));
}

/// The simulated unsafe kernel: only what is probed at returns is refused.
#[test]
fn a_kernel_that_kills() {
    let file = program();
    let real = identified(file.path());
    let by_version = || Outcome::Untried("no privilege".to_owned(), true);
    for returns in [Outcome::Killed, by_version()] {
        let unsafe_kernel = Guard { returns, replaced: Outcome::Survived };
        for function in [Function::Write, Function::Read, Function::Handshake, Function::New] {
            let refused = unsafe_kernel.permit(&real, &[probe(function, 64)]).unwrap_err();
            assert_eq!(refused.reason(), Reason::UnsafeKernel, "{function:?}");
        }
        for function in [Function::Free, Function::ReadEnd, Function::GoRead, Function::GoReturn] {
            assert_eq!(unsafe_kernel.permit(&real, &[probe(function, 64)]), Ok(()), "{function:?}");
        }
    }
    for returns in [Outcome::Assumed, Outcome::Untried("no privilege".to_owned(), false)] {
        let guard = Guard { returns, replaced: Outcome::Survived };
        assert_eq!(guard.permit(&real, &[probe(Function::Write, 64)]), Ok(()));
    }
}

#[test]
fn another_instruction() {
    let file = program();
    let real = identified(file.path());
    let refused = SAFE.permit(&real, &[probe(Function::Write, 65)]);
    assert_eq!(refused, Err(Refusal::Instruction(65)));
}

#[test]
fn a_file_that_was_written_to() {
    let file = program();
    let real = identified(file.path());
    let probes = [probe(Function::Write, 64)];
    let mut bytes = fs::read(file.path()).unwrap();
    bytes.push(0);
    fs::write(file.path(), bytes).unwrap();
    assert_eq!(SAFE.permit(&real, &probes), Err(Refusal::Changed));
    assert_eq!(SAFE.permit(&identified(file.path()), &probes), Ok(()));
}

#[test]
fn an_instruction_that_the_kernel_replaces() {
    let file = program();
    let mut bytes = fs::read(file.path()).unwrap();
    bytes[64..69].copy_from_slice(&[0x0f, 0x1f, 0x44, 0x00, 0x00]);
    fs::write(file.path(), bytes).unwrap();
    let (real, probes) = (identified(file.path()), [probe(Function::Free, 64)]);
    assert_eq!(SAFE.permit(&real, &probes), Ok(()));
    let kills = Guard { returns: Outcome::Survived, replaced: Outcome::Killed };
    let refused = kills.permit(&real, &probes).unwrap_err();
    assert_eq!(refused.reason(), Reason::UnsafeKernel);
}
