//! The straight line from a function's first instruction to the first that is cheap to probe.
//!
//! An instruction is passed over only when what the programs need stays as it was. One that goes to
//! memory may fault; then the call moves nothing that is worth a record.

use std::ops::Range;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, Register,
    UsedMemory,
};

use super::{Code, Extent, Needs, emulation, state};

/// Most bytes of a function that are looked at: the prologues of compilers are shorter.
const REACH: u64 = 64;

/// Where the System V ABI for AMD64 (version 1.0, section 3.2.3) passes the first arguments.
const ARGUMENTS: [Register; 5] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8];

/// What is passed over. The test under ptrace confirms each of them, and that it is no more.
pub(super) const PASSED: [Mnemonic; 14] = [
    Mnemonic::Endbr64,
    Mnemonic::Nop,
    Mnemonic::Test,
    Mnemonic::Cmp,
    Mnemonic::Mov,
    Mnemonic::Movsxd,
    Mnemonic::Movsx,
    Mnemonic::Movzx,
    Mnemonic::Lea,
    Mnemonic::Xor,
    Mnemonic::And,
    Mnemonic::Or,
    Mnemonic::Add,
    Mnemonic::Sub,
];

/// An instruction that is cheap to probe.
pub(super) struct Cheap {
    /// Its bytes, counted from the function's first.
    pub(super) place: Range<u64>,
    /// Most bytes that the function has taken from the stack up to there.
    pub(super) deepest: i64,
}

/// The first instruction that is cheap and at which all that is needed is in place.
pub(super) fn cheap(code: &impl Code, function: Extent, needs: Needs) -> Option<Cheap> {
    let reach = if function.size == 0 { REACH } else { function.size.min(REACH) };
    let bytes = code.bytes(function.address, reach)?;
    let mut info = InstructionInfoFactory::new();
    let mut line = Line { needs, frame: 0, deepest: 0 };
    for instruction in Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).iter() {
        let place = instruction.ip()..instruction.next_ip();
        let range = usize::try_from(place.start).ok()?..usize::try_from(place.end).ok()?;
        if instruction.is_invalid() {
            return None;
        }
        if emulation::emulates(bytes.get(range)?) {
            return Some(Cheap { place, deepest: line.deepest });
        }
        if !line.passes(&instruction, &mut info) {
            return None;
        }
    }
    None
}

/// What is known on the way.
struct Line {
    needs: Needs,
    /// Bytes that the function has taken from the stack.
    frame: i64,
    deepest: i64,
}

impl Line {
    /// Whether all that is needed is in place behind this instruction too, if it was before it.
    fn passes(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) -> bool {
        if !PASSED.contains(&instruction.mnemonic())
            || instruction.flow_control() != FlowControl::Next
        {
            return false;
        }
        if let Some(change) = state::change(instruction) {
            self.frame = self.frame.saturating_sub(change);
            self.deepest = self.deepest.max(self.frame);
            return !self.needs.stack;
        }
        let info = info.info(instruction);
        let mut registers =
            info.used_registers().iter().filter(|used| state::writes(used.access()));
        let mut memory = info.used_memory().iter().filter(|used| state::writes(used.access()));
        registers.all(|used| !self.is_needed(used.register()))
            && memory.all(|used| !self.needs.memory || self.is_own(used))
    }

    fn is_needed(&self, register: Register) -> bool {
        let register = register.full_register();
        register == Register::RSP
            || ARGUMENTS.iter().take(self.needs.arguments).any(|&argument| argument == register)
    }

    /// Whether memory lies in the frame that the function has taken, which is nobody else's.
    fn is_own(&self, memory: &UsedMemory) -> bool {
        let place = i64::try_from(memory.displacement()).ok();
        let size = i64::try_from(memory.memory_size().size()).ok().filter(|&size| size > 0);
        memory.base() == Register::RSP
            && memory.index() == Register::None
            && place
                .zip(size)
                .and_then(|(place, size)| place.checked_add(size))
                .is_some_and(|end| end <= self.frame)
    }
}
