//! s2n: names and results of s2n.h, the behaviour of tls/s2n_send.c and tls/s2n_recv.c (1.7).
//!
//! `s2n_send` and `s2n_sendv` go on to `s2n_sendv_with_offset`: the outermost call counts. Early data
//! goes through `s2n_send` and `s2n_recv`. `s2n_sendfile` has no probe: it works with TLS in the kernel
//! only, and what it sends is not seen.
//!
//! What did not go out of a call is given again by the program, without what its result says.

use tlstap_ebpf::Function;

use super::{
    Family, Version,
    exports::{self, Named},
};
use crate::resolve::{Probe, elf::Elf};

pub(super) const FAMILY: Family = Family {
    name: "s2n",
    libraries: &["libs2n.so"],
    companion: None,
    probes,
    names: || exports::names(&FUNCTIONS),
    version,
};

const FUNCTIONS: [Named; 10] = [
    ("s2n_send", Function::Write),
    ("s2n_recv", Function::Read),
    ("s2n_sendv", Function::WriteVectors),
    ("s2n_sendv_with_offset", Function::WriteVectorsFrom),
    ("s2n_connection_free", Function::Free),
    ("s2n_connection_wipe", Function::Clear),
    ("s2n_shutdown", Function::Shutdown),
    ("s2n_shutdown_send", Function::Shutdown),
    ("s2n_connection_set_fd", Function::SetTransport),
    ("s2n_connection_set_write_fd", Function::SetTransport),
];

fn probes(elf: &Elf<'_>) -> Vec<Probe> {
    exports::probes(elf, &FUNCTIONS)
}

/// It tells none.
fn version(_: &Elf<'_>) -> Option<Version> {
    None
}
