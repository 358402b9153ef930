//! GnuTLS: names and results of gnutls/gnutls.h, the behaviour of lib/record.c (3.7.9).
//!
//! `gnutls_record_send` goes on to `gnutls_record_send2`, `gnutls_record_uncork` to
//! `gnutls_record_send` with what was taken while the session was corked: the outermost call counts.
//! `gnutls_record_send_file` has no probe: it is a loop around `gnutls_record_send`, unless the kernel
//! does TLS (which is off by default): then what it sends is not seen.
//!
//! `gnutls_record_send_early_data` has none either: it keeps what it is given, which the handshake then
//! sends by `gnutls_record_send`.
//!
//! After `GNUTLS_E_AGAIN` a call without a buffer sends what an earlier one gave, and returns its
//! length; its bytes are not known any more, so it is told as a gap.

use tlstap_ebpf::Function;

use super::{
    Family, Version,
    exports::{self, Named},
    number_after,
};
use crate::resolve::{Probe, elf::Elf};

pub(super) const FAMILY: Family = Family {
    name: "gnutls",
    libraries: &["libgnutls.so"],
    companion: None,
    probes,
    names: || exports::names(&FUNCTIONS),
    version,
};

const FUNCTIONS: [Named; 10] = [
    ("gnutls_record_send", Function::Write),
    ("gnutls_record_recv", Function::Read),
    ("gnutls_record_send2", Function::Write),
    ("gnutls_record_recv_seq", Function::Read),
    ("gnutls_record_send_range", Function::Write),
    ("gnutls_record_uncork", Function::Uncork),
    ("gnutls_record_recv_packet", Function::ReadPacket),
    ("gnutls_record_recv_early_data", Function::Read),
    ("gnutls_deinit", Function::Free),
    ("gnutls_bye", Function::Shutdown),
];

fn probes(elf: &Elf<'_>) -> Vec<Probe> {
    exports::probes(elf, &FUNCTIONS)
}

/// `Enabled GnuTLS 3.7.9 logging...` (lib/global.c).
fn version(elf: &Elf<'_>) -> Option<Version> {
    number_after(elf, &[b"Enabled GnuTLS "]).map(|version| ("gnutls", version))
}
