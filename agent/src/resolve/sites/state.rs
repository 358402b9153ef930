//! What is known between two instructions: how deep the stack is, and which registers hold the
//! address of a function.

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

/// Bytes that a function has put on its stack, its return address left out; `None` where that is
/// not known.
pub(super) type Depth = Option<i64>;

/// Registers, a bit each, by number.
pub(super) type Registers = u16;

/// What is known at one place in a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) depth: Depth,
    /// Those that were read from memory without an index: a pointer in an object, or in the table
    /// of imports. The tables that `switch` jumps through have an index.
    pub(super) pointers: Registers,
}

/// What a call may change (System V ABI for AMD64, version 1.0, section 3.2.1).
const CALLER_SAVED: [Register; 9] = [
    Register::RAX,
    Register::RCX,
    Register::RDX,
    Register::RSI,
    Register::RDI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
];

impl State {
    /// At the first instruction of a function.
    pub(super) const START: Self = Self { depth: Some(0), pointers: 0 };

    /// What is known behind an instruction.
    pub(super) fn behind(
        self,
        instruction: &Instruction,
        info: &mut InstructionInfoFactory,
    ) -> Self {
        // What a call pushes its return takes away.
        if instruction.is_call_near() || instruction.is_call_near_indirect() {
            let changed: Registers =
                CALLER_SAVED.into_iter().map(bit).fold(0, |all, bit| all | bit);
            return Self { pointers: self.pointers & !changed, ..self };
        }
        let changed: Registers = info
            .info(instruction)
            .used_registers()
            .iter()
            .filter(|used| writes(used.access()))
            .fold(0, |all, used| all | bit(used.register()));
        let depth = match change(instruction) {
            Some(change) => self.depth.and_then(|depth| depth.checked_sub(change)),
            None if changed & bit(Register::RSP) != 0 => None,
            None => self.depth,
        };
        Self { depth, pointers: self.pointers & !changed | loaded(instruction) }
    }

    /// Whether an indirect jump goes to a function, or at least not where the stack is only so deep.
    ///
    /// At one instruction the stack has always one depth: unwind tables give it by address (System
    /// V ABI for AMD64, version 1.0, section 3.7).
    pub(super) fn leaves(self, jump: &Instruction, deepest: i64) -> bool {
        let framed = self.depth.is_some_and(|depth| depth > deepest);
        let pointer = match jump.op0_kind() {
            OpKind::Memory => jump.memory_index() == Register::None,
            OpKind::Register => self.pointers & bit(jump.op0_register()) != 0,
            _ => false,
        };
        framed || pointer
    }
}

/// What is added to the stack pointer, if that is a number in the instruction.
pub(super) fn change(instruction: &Instruction) -> Option<i64> {
    let on_pointer =
        instruction.op0_kind() == OpKind::Register && instruction.op0_register() == Register::RSP;
    match instruction.mnemonic() {
        Mnemonic::Push => Some(instruction.stack_pointer_increment().into()),
        Mnemonic::Pop if !on_pointer => Some(instruction.stack_pointer_increment().into()),
        Mnemonic::Add if on_pointer => immediate(instruction),
        Mnemonic::Sub if on_pointer => immediate(instruction)?.checked_neg(),
        Mnemonic::Lea
            if on_pointer
                && instruction.memory_base() == Register::RSP
                && instruction.memory_index() == Register::None =>
        {
            Some(signed(instruction.memory_displacement64()))
        }
        _ => None,
    }
}

/// Whether an access may change what it goes to.
pub(super) const fn writes(access: OpAccess) -> bool {
    !matches!(access, OpAccess::None | OpAccess::Read | OpAccess::CondRead | OpAccess::NoMemAccess)
}

fn immediate(instruction: &Instruction) -> Option<i64> {
    matches!(instruction.op1_kind(), OpKind::Immediate8to64 | OpKind::Immediate32to64)
        .then(|| signed(instruction.immediate(1)))
}

/// Decoded numbers are sign-extended.
const fn signed(number: u64) -> i64 {
    i64::from_ne_bytes(number.to_ne_bytes())
}

/// The register that an instruction loads with a pointer.
fn loaded(instruction: &Instruction) -> Registers {
    let loads = instruction.mnemonic() == Mnemonic::Mov
        && instruction.op0_kind() == OpKind::Register
        && instruction.op0_register().is_gpr64()
        && instruction.op1_kind() == OpKind::Memory
        && instruction.memory_index() == Register::None;
    if loads { bit(instruction.op0_register()) } else { 0 }
}

/// The bit of a general-purpose register, whatever part of it is meant.
fn bit(register: Register) -> Registers {
    let whole = register.full_register();
    if !whole.is_gpr64() {
        return 0;
    }
    u32::try_from(whole.number()).ok().and_then(|number| 1_u16.checked_shl(number)).unwrap_or(0)
}
