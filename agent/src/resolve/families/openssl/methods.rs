//! What OpenSSL's `SSL_read` and its like end in: the functions in its tables of methods.
//!
//! `SSL_read`, `SSL_read_ex`, `SSL_read_early_data` and asynchronous jobs all go on to
//! `s->method->ssl_read(SSL *, void *, size_t, size_t *)` (ssl/ssl_lib.c, 1.1.1 to 3.6). The tables are
//! all defined by the macros of ssl/methods.c (ssl/ssl_local.h), with one function for TLS and DTLS,
//! and by another file for QUIC; `TLS_method` and its like give their addresses.

use std::collections::BTreeSet;

use crate::resolve::{
    elf::Elf,
    sites::{Architecture, ends},
};

/// How the names end of the functions that give the address of a table.
pub(super) const ENDING: &str = "_method";
/// Most of them: OpenSSL has half as many, and each costs a look at all relocations.
const MAX_METHODS: usize = 64;
/// How they begin.
const PREFIXES: [&[u8]; 4] = [b"TLS", b"DTLS", b"OSSL_QUIC", b"SSLv"];

/// The functions that all reads end in, by the function that they go through. `None` when they are
/// not all known.
pub(super) fn reads(elf: &Elf<'_>, internal: u64) -> Option<BTreeSet<u64>> {
    // Which field of the object it is does not matter: what the tables hold is the same.
    let (_, slot) = ends::slot(elf, internal)?;
    let mut found = BTreeSet::new();
    let named = |(name, _): &(&[u8], u64)| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let symbols = elf.symbols();
    if symbols.ending(ENDING).filter(named).count() > MAX_METHODS {
        return None;
    }
    for (_, address) in symbols.ending(ENDING).filter(named) {
        let table = table(elf, address)?;
        let function = elf.pointer(table.checked_add_signed(slot)?)?;
        found.insert(Some(function).filter(|&function| elf.is_text(function))?);
    }
    (!found.is_empty()).then_some(found)
}

/// The address that a function gives: `lea rax, [rip + …]; ret`, there or where it jumps to.
fn table(elf: &Elf<'_>, function: u64) -> Option<u64> {
    use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Register};

    // Reads on other machines are followed from entry to return.
    if elf.architecture() != Architecture::X86_64 {
        return None;
    }
    let mut address = function;
    // What is called, and what that jumps to.
    for _ in 0..2 {
        let code = elf.code(address, 16)?;
        let mut found = Decoder::with_ip(64, code, address, DecoderOptions::NONE)
            .into_iter()
            .filter(|instruction| instruction.code() != Code::Endbr64);
        let first = found.next()?;
        if first.is_jmp_short_or_near() {
            address = first.near_branch_target();
            continue;
        }
        let gives = first.code() == Code::Lea_r64_m
            && first.op0_register() == Register::RAX
            && first.is_ip_rel_memory_operand()
            && found.next()?.flow_control() == FlowControl::Return;
        return gives.then(|| first.ip_rel_memory_address());
    }
    None
}
