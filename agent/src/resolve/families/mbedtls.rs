//! Mbed TLS: names and results of mbedtls/ssl.h (2.28 to 3.6).
//!
//! `mbedtls_ssl_write` takes at most a record at once. After `MBEDTLS_ERR_SSL_WANT_WRITE` it is called
//! again with the same arguments, and gives their length then.

use tlstap_ebpf::Function;

use super::{
    Family, Version,
    exports::{self, Named},
    number_after,
};
use crate::resolve::{Probe, elf::Elf};

pub(super) const FAMILY: Family = Family {
    name: "mbedtls",
    libraries: &["libmbedtls"],
    companion: Some("libmbedcrypto"),
    probes,
    names: || exports::names(&FUNCTIONS),
    version,
};

const FUNCTIONS: [Named; 8] = [
    ("mbedtls_ssl_write", Function::Write),
    ("mbedtls_ssl_read", Function::Read),
    ("mbedtls_ssl_write_early_data", Function::Write),
    ("mbedtls_ssl_read_early_data", Function::Read),
    ("mbedtls_ssl_free", Function::Free),
    ("mbedtls_ssl_session_reset", Function::Clear),
    ("mbedtls_ssl_close_notify", Function::Shutdown),
    ("mbedtls_ssl_set_bio", Function::SetTransport),
];

fn probes(elf: &Elf<'_>) -> Vec<Probe> {
    exports::probes(elf, &FUNCTIONS)
}

/// `mbed TLS 2.28.3` (mbedtls/version.h), from 3.0 on `Mbed TLS 3.6.0`.
fn version(elf: &Elf<'_>) -> Option<Version> {
    number_after(elf, &[b"mbed TLS ", b"Mbed TLS "]).map(|version| ("mbedtls", version))
}
