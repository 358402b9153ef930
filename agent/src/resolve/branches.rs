//! Which functions of a file a function calls. Not known for other machines than x86-64: their functions
//! are probed at their symbols.

use super::{elf::Elf, sites::Architecture};

/// The most bytes of one function that are looked at: the ones asked for are short.
const MAX_FUNCTION: u64 = 512;

/// The functions in `.text` that the function calls directly or jumps to at its end, in the order
/// in which they stand.
pub(crate) fn calls(elf: &Elf<'_>, address: u64, size: u64) -> Vec<u64> {
    use iced_x86::FlowControl;

    let inside = address..address.saturating_add(size);
    instructions(elf, address, size)
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

/// The function in `.text` that the function calls whatever its arguments are: before any branch.
pub(crate) fn always_called(elf: &Elf<'_>, address: u64, size: u64) -> Option<u64> {
    use iced_x86::FlowControl;

    let mut instructions = instructions(elf, address, size);
    let first = instructions.find(|instruction| instruction.flow_control() != FlowControl::Next)?;
    let target = first.is_call_near().then(|| first.near_branch_target())?;
    elf.is_text(target).then_some(target)
}

fn instructions(
    elf: &Elf<'_>,
    address: u64,
    size: u64,
) -> impl Iterator<Item = iced_x86::Instruction> {
    use iced_x86::{Decoder, DecoderOptions};

    let known = elf.architecture() == Architecture::X86_64;
    let code = known.then(|| elf.code(address, size.min(MAX_FUNCTION))).flatten();
    let code = code.unwrap_or_default();
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    std::iter::from_fn(move || decoder.can_decode().then(|| decoder.decode()))
        .take_while(|instruction| !instruction.is_invalid())
}
