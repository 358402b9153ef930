//! wolfSSL: names and results of wolfssl/ssl.h, the behaviour of src/ssl.c (5.5.4 to 5.8).
//!
//! `wolfSSL_recv` and `wolfSSL_send` set flags of the socket's and go on to `wolfSSL_read` and
//! `wolfSSL_write`, if the compiler has not put these into them: the outermost call counts.
//! `wolfSSL_writev` has no probe: it writes a copy by `wolfSSL_write`. `wolfSSL_peek` has none either,
//! since nothing is read inside it that has.

use tlstap_ebpf::Function;

use super::{
    Family, Version,
    exports::{self, Named},
    number_after,
};
use crate::resolve::{Probe, elf::Elf};

pub(super) const FAMILY: Family = Family {
    name: "wolfssl",
    libraries: &["libwolfssl"],
    companion: None,
    probes,
    names: || exports::names(&FUNCTIONS),
    version,
};

const FUNCTIONS: [Named; 15] = [
    ("wolfSSL_write", Function::Write),
    ("wolfSSL_read", Function::Read),
    ("wolfSSL_send", Function::Write),
    ("wolfSSL_recv", Function::Read),
    // Since 5.7. Where a program gives no place for the length, it is not known.
    ("wolfSSL_write_ex", Function::WriteEx),
    ("wolfSSL_read_ex", Function::ReadEx),
    ("wolfSSL_write_early_data", Function::Write),
    ("wolfSSL_read_early_data", Function::Read),
    ("wolfSSL_free", Function::Free),
    ("wolfSSL_clear", Function::Clear),
    ("wolfSSL_shutdown", Function::Shutdown),
    ("wolfSSL_set_bio", Function::SetTransport),
    // It calls both that follow.
    ("wolfSSL_set_fd", Function::SetDescriptor),
    ("wolfSSL_set_read_fd", Function::SetTransport),
    ("wolfSSL_set_write_fd", Function::SetTransport),
];

fn probes(elf: &Elf<'_>) -> Vec<Probe> {
    exports::probes(elf, &FUNCTIONS)
}

/// `wolfSSL 5.5.4` (`wolfSSL_OpenSSL_version`); a build without OpenSSL's names has only the number.
fn version(elf: &Elf<'_>) -> Option<Version> {
    number_after(elf, &[b"wolfSSL "]).map(|version| ("wolfssl", version))
}
