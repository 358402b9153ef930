//! A function, decoded: its error sites, what it calls, how many arguments it takes.

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, OpKind, Register,
};

use crate::resolve::{elf::Elf, sites::Extent};

/// Most bytes of a function that is looked at.
const LONGEST: u64 = 1 << 14;

/// Most error sites of one.
const SITES: usize = 64;

/// Most instructions of an error site: before and behind the one that refers to a string.
const SITE: usize = 32;

/// Where the System V ABI for AMD64 (version 1.0, section 3.2.3) passes the first arguments.
const ARGUMENTS: [Register; 5] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8];

/// An `int`.
const MINUS_ONE: u64 = u32::MAX as u64;

/// What a function has to leave as it was: it saves them first, and may keep in them what it needs often.
const KEPT: [Register; 6] =
    [Register::RBX, Register::RBP, Register::R12, Register::R13, Register::R14, Register::R15];

/// The arguments of a call, as far as they are constants.
pub(super) type Constants = [Option<u64>; 5];

pub(super) struct Body {
    pub(super) extent: Extent,
    instructions: Vec<Instruction>,
    /// Constants that stay in registers.
    kept: Vec<(Register, u64)>,
}

impl Body {
    /// `None` when it is too long, or not all code.
    pub(super) fn decode(elf: &Elf<'_>, extent: Extent) -> Option<Self> {
        if extent.size > LONGEST {
            return None;
        }
        let code = elf.code(extent.address, extent.size)?;
        let decoder = Decoder::with_ip(64, code, extent.address, DecoderOptions::NONE);
        let instructions: Vec<_> = decoder.into_iter().collect();
        let whole = instructions.iter().all(|instruction| !instruction.is_invalid());
        let kept = KEPT.iter().filter_map(|&register| kept(&instructions, register)).collect();
        whole.then_some(Self { extent, instructions, kept })
    }

    /// The calls that follow a reference to one of the addresses, which are in order: an error is reported
    /// in a straight line, or in one with jumps.
    pub(super) fn sites(&self, addresses: &[u64]) -> Vec<Constants> {
        let refers = |instruction: &Instruction| {
            gives(instruction).is_some_and(|(_, value)| addresses.binary_search(&value).is_ok())
        };
        let places = self.instructions.iter().enumerate();
        let sites = places.filter(|(_, instruction)| refers(instruction));
        sites.take(SITES).filter_map(|(at, _)| self.site(at)).collect()
    }

    /// The constant arguments of the call behind an instruction.
    fn site(&self, place: usize) -> Option<Constants> {
        let mut info = InstructionInfoFactory::new();
        let mut known = self.kept.clone();
        let mut at = self.line_to(place);
        for _ in 0..2 * SITE {
            let instruction = self.instructions.get(at)?;
            match instruction.flow_control() {
                FlowControl::Call => {
                    let value = |wanted| {
                        known.iter().find(|(register, _)| *register == wanted).map(|&(_, v)| v)
                    };
                    return Some(ARGUMENTS.map(value));
                }
                FlowControl::UnconditionalBranch => {
                    at = self.at(instruction.near_branch_target())?;
                    continue;
                }
                FlowControl::Next => learn(&mut known, instruction, &mut info),
                FlowControl::ConditionalBranch if at < place => {}
                _ => return None,
            }
            at += 1;
        }
        None
    }

    /// Where the straight line begins in which an instruction stands.
    fn line_to(&self, place: usize) -> usize {
        let before = self.instructions.get(place.saturating_sub(SITE)..place).unwrap_or_default();
        let straight = before.iter().rev().take_while(|instruction| {
            matches!(instruction.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch)
        });
        place - straight.count()
    }

    fn at(&self, address: u64) -> Option<usize> {
        self.instructions.binary_search_by_key(&address, Instruction::ip).ok()
    }

    /// What it calls directly, or jumps to at its end.
    pub(super) fn calls(&self, function: u64) -> bool {
        self.instructions.iter().any(|instruction| {
            let calls = instruction.is_call_near() || instruction.is_jmp_short_or_near();
            calls && instruction.near_branch_target() == function
        })
    }

    /// The functions that it calls directly.
    pub(super) fn callees(&self) -> impl Iterator<Item = u64> {
        let calls = self.instructions.iter().filter(|instruction| instruction.is_call_near());
        calls.map(Instruction::near_branch_target)
    }

    /// Whether it counts down what others count in its first argument, before all else: `CRYPTO_DOWN_REF`
    /// (include/internal/refcount.h).
    pub(super) fn gives_back(&self) -> bool {
        let mut info = InstructionInfoFactory::new();
        let before = self.instructions.iter().take_while(|instruction| {
            !instruction.is_call_near() && instruction.flow_control() != FlowControl::IndirectCall
        });
        let mut minus = false;
        for instruction in before {
            if instruction.has_lock_prefix() {
                return instruction.memory_base() == Register::RDI
                    && match instruction.mnemonic() {
                        Mnemonic::Sub | Mnemonic::Dec => true,
                        Mnemonic::Xadd => minus,
                        _ => false,
                    };
            }
            if moves(instruction, Register::RDI, &mut info) {
                return false;
            }
            minus |= is_minus_one(instruction);
        }
        false
    }

    /// Whether it calls the function with its own second and third argument, which stand where they stood
    /// when it was called.
    pub(super) fn hands_on(&self, function: u64) -> bool {
        let mut info = InstructionInfoFactory::new();
        for instruction in &self.instructions {
            if instruction.is_call_near() || instruction.flow_control() == FlowControl::IndirectCall
            {
                return instruction.near_branch_target() == function;
            }
            let moved = [Register::RSI, Register::RDX]
                .into_iter()
                .any(|register| moves(instruction, register, &mut info));
            if moved {
                return false;
            }
        }
        false
    }

    /// Whether it stores anything but in its own frame.
    pub(super) fn stores(&self) -> bool {
        let mut info = InstructionInfoFactory::new();
        let framed = self.instructions.iter().any(is_frame);
        let is_own = |base| base == Register::RSP || framed && base == Register::RBP;
        self.instructions.iter().any(|instruction| {
            instruction.flow_control() == FlowControl::Next
                && info
                    .info(instruction)
                    .used_memory()
                    .iter()
                    .any(|memory| writes(memory.access()) && !is_own(memory.base()))
        })
    }

    /// How many arguments it takes, up to five: those up to the last that is read on some way before it is
    /// written, and before another function could have changed it.
    pub(super) fn arguments(&self) -> usize {
        (0..ARGUMENTS.len())
            .rev()
            .find(|&number| ARGUMENTS.get(number).is_some_and(|&register| self.takes(register)))
            .map_or(0, |last| last + 1)
    }

    fn takes(&self, register: Register) -> bool {
        let mut info = InstructionInfoFactory::new();
        let mut seen = vec![false; self.instructions.len()];
        let mut todo = vec![0];
        while let Some(mut at) = todo.pop() {
            while let (Some(instruction), Some(seen @ false)) =
                (self.instructions.get(at), seen.get_mut(at))
            {
                *seen = true;
                let mut used = info
                    .info(instruction)
                    .used_registers()
                    .iter()
                    .filter(|used| used.register().full_register() == register)
                    .map(iced_x86::UsedRegister::access);
                let written = match used.clone().any(reads) {
                    true => return true,
                    false => used.any(|access| access == OpAccess::Write),
                };
                let target = self.at(instruction.near_branch_target());
                match instruction.flow_control() {
                    FlowControl::Next if !written => {}
                    FlowControl::ConditionalBranch => todo.extend(target),
                    FlowControl::UnconditionalBranch => {
                        todo.extend(target);
                        break;
                    }
                    _ => break,
                }
                at += 1;
            }
        }
        false
    }
}

/// `mov rbp, rsp`.
fn is_frame(instruction: &Instruction) -> bool {
    matches!(instruction.code(), Code::Mov_r64_rm64 | Code::Mov_rm64_r64)
        && instruction.op0_register() == Register::RBP
        && instruction.op1_register() == Register::RSP
}

fn reads(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

fn writes(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

/// Whether an instruction changes a register.
fn moves(instruction: &Instruction, register: Register, info: &mut InstructionInfoFactory) -> bool {
    let mut used = info.info(instruction).used_registers().iter();
    used.any(|used| used.register().full_register() == register && writes(used.access()))
}

/// `mov r32, -1`, `or r32, -1`.
fn is_minus_one(instruction: &Instruction) -> bool {
    gives(instruction).is_some_and(|(_, value)| value & MINUS_ONE == MINUS_ONE)
        || instruction.mnemonic() == Mnemonic::Or
            && instruction.op_kinds().any(|kind| kind == OpKind::Immediate8to32)
}

/// The constant that a register is given, if it is given no other before it is restored.
fn kept(instructions: &[Instruction], register: Register) -> Option<(Register, u64)> {
    let mut info = InstructionInfoFactory::new();
    let mut value = None;
    for instruction in instructions {
        let is_written = moves(instruction, register, &mut info);
        if !is_written || instruction.mnemonic() == Mnemonic::Pop {
            continue;
        }
        let given = gives(instruction)?;
        if value.is_some_and(|value| value != given) {
            return None;
        }
        value = Some(given);
    }
    value
}

/// The register that an instruction gives a constant, and the constant.
fn gives(instruction: &Instruction) -> Option<(Register, u64)> {
    let register = instruction.op0_register().full_register();
    match instruction.code() {
        Code::Lea_r64_m if instruction.is_ip_rel_memory_operand() => {
            Some((register, instruction.ip_rel_memory_address()))
        }
        Code::Mov_r32_imm32 => Some((register, instruction.immediate32().into())),
        Code::Mov_r64_imm64 => Some((register, instruction.immediate64())),
        Code::Mov_rm64_imm32 if instruction.op0_kind() == OpKind::Register => {
            Some((register, instruction.immediate32to64().cast_unsigned()))
        }
        Code::Xor_r32_rm32 | Code::Xor_rm32_r32
            if instruction.op1_kind() == OpKind::Register
                && instruction.op0_register() == instruction.op1_register() =>
        {
            Some((register, 0))
        }
        _ => None,
    }
}

/// Keeps which registers hold constants behind an instruction.
fn learn(
    known: &mut Vec<(Register, u64)>,
    instruction: &Instruction,
    info: &mut InstructionInfoFactory,
) {
    let copied = match instruction.code() {
        Code::Mov_r64_rm64 | Code::Mov_rm64_r64 => known
            .iter()
            .find(|(register, _)| *register == instruction.op1_register())
            .map(|&(_, value)| (instruction.op0_register(), value)),
        _ => None,
    };
    let written = info.info(instruction).used_registers();
    for used in written.iter().filter(|used| writes(used.access())) {
        known.retain(|(register, _)| *register != used.register().full_register());
    }
    known.extend(gives(instruction).or(copied.filter(|(register, _)| *register != Register::None)));
}
