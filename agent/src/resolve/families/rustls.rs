//! rustls 0.23, where its symbols are still there (experimental): two functions of
//! rustls/src/common_state.rs, which survive fat LTO too.
//!
//! They are private, and the layout of their arguments is the compiler's choice, so a function is
//! probed only if its code reads the argument as is expected. Of `OutboundChunks` the first word is 0
//! before the address and the length of one slice, or else the address of slices; of `Payload`, address
//! and length are behind the first word, whether it owns the bytes or not.
//!
//! The object is the connection's `CommonState`. One that is moved is told as another connection, as
//! tokio-rustls moves it when the handshake is done: what a client sends in the same packet is told apart from
//! what follows. It ends when it is dropped, or when another one at its address begins to send. Bytes that a server takes as early data are in another structure, and not
//! seen. The I/O is done outside of these calls.

use tlstap_ebpf::Function;

use super::{Family, MAX_NUMBER, Version};
use crate::resolve::{
    Probe,
    elf::Elf,
    sites::{Architecture, Extent},
    symbols::Found,
};

pub(super) const FAMILY: Family =
    Family { name: "rustls", libraries: &[], companion: None, probes, names: Vec::new, version };

/// The only series whose arguments are known.
const SERIES: &str = "0.23.";

/// A function: how its path ends, what it is called in output.
struct Named {
    end: &'static str,
    symbol: &'static str,
    function: Function,
    /// The words of the second argument that it reads, by their offsets in bytes.
    reads: &'static [u64],
}

/// What all their mangled names contain, whatever the scheme.
const MARK: &[u8] = b"CommonState";
const TYPE: &str = "rustls::common_state::CommonState";
const FUNCTIONS: [Named; 4] = [
    Named {
        end: "::send_appdata_encrypt",
        symbol: "CommonState::send_appdata_encrypt",
        function: Function::WriteChunks,
        reads: &[0, 16, 24],
    },
    Named {
        end: "::take_received_plaintext",
        symbol: "CommonState::take_received_plaintext",
        function: Function::TakePlaintext,
        reads: &[8, 16],
    },
    Named {
        end: "::start_outgoing_traffic",
        symbol: "CommonState::start_outgoing_traffic",
        function: Function::Clear,
        reads: &[],
    },
    Named { end: "", symbol: "drop_in_place<CommonState>", function: Function::Free, reads: &[] },
];

fn probes(elf: &Elf<'_>) -> Vec<Probe> {
    if !version(elf).is_some_and(|(_, number)| number.starts_with(SERIES)) {
        return Vec::new();
    }
    let found = elf.functions_with(MARK).into_iter();
    let found = found.filter_map(|function| Some((named(&function.name)?, function)));
    let mut probes = Vec::new();
    for (named, Found { address, size, method, .. }) in found {
        if !reads(elf, address, named.reads) {
            return Vec::new();
        }
        probes.extend(Probe::plan(
            elf,
            named.symbol,
            named.function,
            Extent { address, size },
            method,
        ));
    }
    let has = |wanted: &Named| probes.iter().any(|probe| probe.function == wanted.function);
    let whole = FUNCTIONS.iter().all(has);
    if whole { probes } else { Vec::new() }
}

/// Whether the file names functions of rustls.
pub(in crate::resolve) fn has_symbols(elf: &Elf<'_>) -> bool {
    !elf.functions_with(MARK).is_empty()
}

/// Which function a mangled name stands for. A drop of the type has one in each unit of compilation.
fn named(name: &[u8]) -> Option<&'static Named> {
    let path = rustc_demangle::try_demangle(std::str::from_utf8(name).ok()?).ok()?;
    // Without the hash.
    let path = format!("{path:#}");
    let drops = ["core::ptr::drop_in_place<", "core::ptr::drop_in_place::<"];
    let dropped = drops.iter().find_map(|before| path.strip_prefix(before)?.strip_suffix('>'));
    if let Some(dropped) = dropped {
        return FUNCTIONS.iter().find(|named| named.end.is_empty() && dropped == TYPE);
    }
    // `<rustls::common_state::CommonState>` in names of the newer scheme.
    let rest = path
        .strip_prefix(TYPE)
        .or_else(|| path.strip_prefix('<')?.strip_prefix(TYPE)?.strip_prefix('>'))?;
    FUNCTIONS.iter().find(|named| !named.end.is_empty() && named.end == rest)
}

/// Whether the first instructions of a function read these words of what its second argument points
/// to.
fn reads(elf: &Elf<'_>, address: u64, words: &[u64]) -> bool {
    use iced_x86::{Decoder, DecoderOptions, OpKind, Register};

    /// Bytes.
    const LOOK: u64 = 192;
    if elf.architecture() != Architecture::X86_64 {
        return words.is_empty();
    }
    let Some(code) = elf.code(address, LOOK) else { return false };
    let mut left: Vec<_> = words.to_vec();
    for instruction in Decoder::with_ip(64, code, address, DecoderOptions::NONE) {
        let loads = instruction.op1_kind() == OpKind::Memory
            && instruction.memory_base() == Register::RSI
            && instruction.memory_index() == Register::None;
        if loads {
            left.retain(|&word| word != instruction.memory_displacement64());
        }
    }
    left.is_empty()
}

/// The path of a source file of the crate, which messages of panics have.
fn version(elf: &Elf<'_>) -> Option<Version> {
    const BEFORE: &[u8] = b"/rustls-";
    const BEHIND: &[u8] = b"/src/";
    let number = elf.search(b".rodata", BEFORE.len() + MAX_NUMBER + BEHIND.len(), |strings| {
        memchr::memmem::find_iter(strings, BEFORE).find_map(|at| {
            let rest = strings.get(at + BEFORE.len()..)?;
            let end = rest.iter().take(MAX_NUMBER).position(|&byte| byte == b'/')?;
            let (number, behind) = rest.split_at_checked(end)?;
            let plausible = number.first()?.is_ascii_digit() && behind.starts_with(BEHIND);
            plausible.then(|| String::from_utf8(number.to_vec()).ok())?
        })
    })?;
    Some(("rustls", number))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str) -> Option<Function> {
        named(name.as_bytes()).map(|named| named.function)
    }

    #[test]
    fn names_of_both_schemes() {
        let legacy =
            "_ZN6rustls12common_state11CommonState20send_appdata_encrypt17h258293ed4c79c9dbE";
        assert_eq!(function(legacy), Some(Function::WriteChunks));
        let legacy = "_ZN4core3ptr54drop_in_place$LT$rustls..common_state..CommonState$GT$17h096354fd1597c1d6E";
        assert_eq!(function(legacy), Some(Function::Free));
        let new =
            "_RNvMs0_NtCs1234_6rustls12common_stateNtB5_11CommonState23take_received_plaintext";
        assert_eq!(function(new), Some(Function::TakePlaintext));
        let new = "_RINvNtCs1234_4core3ptr13drop_in_placeNtNtCs5678_6rustls12common_state11CommonStateECs9_1x";
        assert_eq!(function(new), Some(Function::Free));
    }

    #[test]
    fn other_functions_and_types() {
        for name in [
            "_ZN6rustls12common_state11CommonState12send_warning17h258293ed4c79c9dbE",
            "_ZN5other12common_state11CommonState20send_appdata_encrypt17h258293ed4c79c9dbE",
            "CommonState",
            "",
        ] {
            assert_eq!(function(name), None, "{name}");
        }
    }
}
