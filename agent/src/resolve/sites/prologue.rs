//! The straight line from a function's first instruction to the first that is cheap to probe.
//!
//! An instruction is passed over only when what the programs need stays as it was, and nothing
//! happens that anybody else could see. One that reads memory may fault; then the call moves
//! nothing that is worth a record.

use std::ops::Range;

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess,
    OpKind, Register, UsedMemory,
};

use super::{Code, Extent, Needs, emulation};

/// Most bytes of a function that are looked at: the prologues of compilers are shorter.
const REACH: u64 = 64;

/// Where the System V ABI for AMD64 (version 1.0, section 3.2.3) passes the first arguments.
const ARGUMENTS: [Register; 5] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8];

/// What is passed over. The test under ptrace confirms each of them.
const PASSED: [Mnemonic; 14] = [
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

/// The first instruction that is cheap and at which all that is needed is in place, as bytes from
/// the function's first.
pub(super) fn cheap(code: &impl Code, function: Extent, needs: Needs) -> Option<Range<u64>> {
    let reach = if function.size == 0 { REACH } else { function.size.min(REACH) };
    let bytes = code.bytes(function.address, reach)?;
    let mut info = InstructionInfoFactory::new();
    let mut line = Line { needs, frame: 0 };
    for instruction in Decoder::with_ip(64, bytes, 0, DecoderOptions::NONE).iter() {
        let place = instruction.ip()..instruction.next_ip();
        let range = usize::try_from(place.start).ok()?..usize::try_from(place.end).ok()?;
        if instruction.is_invalid() {
            return None;
        }
        if emulation::emulates(bytes.get(range)?) {
            return Some(place);
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
    frame: u64,
}

impl Line {
    /// Whether all that is needed is in place behind this instruction too, if it was before it.
    fn passes(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) -> bool {
        if !PASSED.contains(&instruction.mnemonic())
            || instruction.flow_control() != FlowControl::Next
        {
            return false;
        }
        if let Some(taken) = taken(instruction) {
            self.frame = self.frame.saturating_add(taken);
            return !self.needs.stack;
        }
        let info = info.info(instruction);
        let mut registers = info.used_registers().iter().filter(|used| writes(used.access()));
        let mut memory = info.used_memory().iter().filter(|used| writes(used.access()));
        registers.all(|used| !self.is_needed(used.register()))
            && memory.all(|used| self.is_own(used))
    }

    fn is_needed(&self, register: Register) -> bool {
        let register = register.full_register();
        register == Register::RSP
            || ARGUMENTS.iter().take(self.needs.arguments).any(|&argument| argument == register)
    }

    /// Whether memory lies in the frame that the function has taken, which is nobody else's.
    fn is_own(&self, memory: &UsedMemory) -> bool {
        let size = u64::try_from(memory.memory_size().size()).unwrap_or(u64::MAX);
        memory.base() == Register::RSP
            && memory.index() == Register::None
            && size > 0
            && memory.displacement().checked_add(size).is_some_and(|end| end <= self.frame)
    }
}

/// How many bytes an instruction takes from the stack: `sub rsp, N`.
fn taken(instruction: &Instruction) -> Option<u64> {
    let immediate =
        matches!(instruction.op1_kind(), OpKind::Immediate8to64 | OpKind::Immediate32to64);
    let takes = instruction.mnemonic() == Mnemonic::Sub
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register() == Register::RSP
        && immediate;
    // The immediate is sign-extended, and `sub rsp, -128` is how compilers add 128.
    takes
        .then(|| i64::from_ne_bytes(instruction.immediate(1).to_ne_bytes()))
        .and_then(|taken| u64::try_from(taken).ok())
}

const fn writes(access: OpAccess) -> bool {
    !matches!(access, OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess)
}
