//! Which functions of a file a function calls.

use super::elf::Elf;

/// The most bytes of one function that are looked at: the ones asked for are short.
const MAX_FUNCTION: u64 = 512;

/// The functions in `.text` that the function calls directly or jumps to at its end, in the order
/// in which they stand.
#[cfg(target_arch = "x86_64")]
pub(crate) fn calls(elf: &Elf<'_>, address: u64, size: u64) -> Vec<u64> {
    use iced_x86::{Decoder, DecoderOptions, FlowControl};

    let Some(code) = elf.code(address, size.min(MAX_FUNCTION)) else { return Vec::new() };
    let inside = address..address.saturating_add(size);
    Decoder::with_ip(64, code, address, DecoderOptions::NONE)
        .iter()
        .take_while(|instruction| !instruction.is_invalid())
        .filter(|instruction| match instruction.flow_control() {
            FlowControl::Call => instruction.is_call_near(),
            FlowControl::UnconditionalBranch => {
                instruction.is_jmp_short_or_near()
                    && !inside.contains(&instruction.near_branch_target())
            }
            _ => false,
        })
        .map(|instruction| instruction.near_branch_target())
        .filter(|target| elf.is_text(*target))
        .collect()
}

/// Not known for other machines: their functions are probed at their symbols.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn calls(_elf: &Elf<'_>, _address: u64, _size: u64) -> Vec<u64> {
    Vec::new()
}
