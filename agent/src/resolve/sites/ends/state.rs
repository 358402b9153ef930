//! What is known between two instructions of a function: what its registers hold, by where that
//! came from.

use iced_x86::{
    ConditionCode, Instruction, InstructionInfoFactory, Mnemonic, OpKind, Register, RflagsBits,
};

use crate::resolve::sites::state;

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// What the function was called with, by number.
    Argument(u8),
    /// The low half of that.
    Half(u8),
    Number(i64),
    /// What lies in the first argument's object, so many bytes from its beginning.
    Field(i64),
    /// What lies in what a field points to: a function in a table of functions.
    Slot {
        field: i64,
        slot: i64,
    },
    /// Something else, by the instruction that made it and the register that it was made in.
    Made(u64, u8),
}

/// Where arguments are passed (System V ABI for AMD64, version 1.0, section 3.2.3).
pub(crate) const ARGUMENTS: [Register; 6] =
    [Register::RDI, Register::RSI, Register::RDX, Register::RCX, Register::R8, Register::R9];

/// What a call leaves as it was (likewise, section 3.2.1).
const KEPT: [Register; 7] = [
    Register::RSP,
    Register::RBX,
    Register::RBP,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

/// The number of the stack pointer.
const STACK: u8 = 4;

/// All general-purpose registers, by number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registers([Value; 16]);

impl Registers {
    /// As a function that begins at this address is called.
    pub(super) fn called(address: u64) -> Self {
        let mut all = Self([Value::Number(0); 16]);
        all.make(address, |_| true);
        for (number, register) in (0..).zip(ARGUMENTS) {
            all.set(register, Value::Argument(number));
        }
        all
    }

    pub(crate) fn get(&self, register: Register) -> Value {
        let held = number(register).and_then(|number| self.0.get(usize::from(number)));
        held.copied().unwrap_or(Value::Made(0, 0))
    }

    fn set(&mut self, register: Register, value: Value) {
        if let Some(held) = number(register).and_then(|number| self.0.get_mut(usize::from(number)))
        {
            *held = value;
        }
    }

    /// Those with such a number were made anew by the instruction at an address.
    fn make(&mut self, address: u64, chosen: impl Fn(u8) -> bool) {
        for (number, held) in (0..).zip(&mut self.0).filter(|(number, _)| chosen(*number)) {
            *held = Value::Made(address, number);
        }
    }

    /// The number of a register that holds one of these; never that of the stack pointer.
    pub(crate) fn holder(&self, wanted: &[Value]) -> Option<u8> {
        let holds = |(number, held): &(u8, &Value)| *number != STACK && wanted.contains(held);
        (0..).zip(&self.0).find(holds).map(|(number, _)| number)
    }
}

/// The number of a general-purpose register in the processor's instructions, whatever part of it is meant.
fn number(register: Register) -> Option<u8> {
    let whole = register.full_register();
    whole.is_gpr64().then(|| u8::try_from(whole.number()).ok()).flatten().filter(|n| *n < 16)
}

/// What is known at one place of one way through a function.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) registers: Registers,
    /// Bytes on the stack above the return address.
    pub(super) depth: Option<i64>,
    /// What was compared last, and with what, as `int`s.
    compared: Option<(Value, i64)>,
    /// What is not greater than 0, as an `int`, since the way led here.
    refused: Vec<Value>,
}

impl State {
    pub(super) fn called(address: u64) -> Self {
        Self {
            registers: Registers::called(address),
            depth: Some(0),
            compared: None,
            refused: Vec::new(),
        }
    }

    /// Whether this is not greater than 0, as an `int`.
    pub(super) fn is_refused(&self, value: Value) -> bool {
        match value {
            Value::Number(number) => low(number) <= 0,
            _ => self.refused.contains(&value),
        }
    }

    /// Goes over an instruction that is no branch and no return.
    pub(super) fn pass(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        let value = self.result(instruction);
        self.compare(instruction);
        let changed = state::change(instruction);
        let used = info.info(instruction).used_registers();
        let written = used.iter().filter(|used| state::writes(used.access()));
        for register in written.map(|used| used.register()) {
            if let Some(made) = number(register) {
                self.registers.set(register, Value::Made(instruction.ip(), made));
            }
            if register.full_register() == Register::RSP && changed.is_none() {
                self.depth = None;
            }
        }
        if let Some(change) = changed {
            self.depth = self.depth.and_then(|depth| depth.checked_sub(change));
        }
        if let Some(value) = value {
            self.registers.set(instruction.op0_register(), value);
        }
    }

    /// Comes back from a function that was called here.
    pub(super) fn call(&mut self, instruction: &Instruction) {
        let kept = KEPT.map(number);
        self.registers.make(instruction.ip(), |made| !kept.contains(&Some(made)));
        self.compared = None;
    }

    /// What the instruction puts into its first operand, if that is known.
    fn result(&self, instruction: &Instruction) -> Option<Value> {
        if instruction.op0_kind() != OpKind::Register {
            return None;
        }
        let target = instruction.op0_register();
        let whole = target.is_gpr64();
        if !whole && !target.is_gpr32() {
            return None;
        }
        match (instruction.mnemonic(), instruction.op1_kind()) {
            (Mnemonic::Xor | Mnemonic::Sub, OpKind::Register)
                if instruction.op1_register() == target =>
            {
                Some(Value::Number(0))
            }
            (Mnemonic::Mov, OpKind::Register) => {
                let value = self.registers.get(instruction.op1_register());
                if whole { Some(value) } else { half(value) }
            }
            (Mnemonic::Mov, OpKind::Memory) if whole => self.loaded(instruction),
            (
                Mnemonic::Mov,
                OpKind::Immediate32 | OpKind::Immediate32to64 | OpKind::Immediate64,
            ) => Some(Value::Number(i64::from_ne_bytes(instruction.immediate(1).to_ne_bytes()))),
            _ => None,
        }
    }

    /// What an instruction's memory operand holds, if that is known.
    pub(super) fn loaded(&self, instruction: &Instruction) -> Option<Value> {
        if instruction.memory_index() != Register::None
            || instruction.segment_prefix() != Register::None
            || !instruction.memory_base().is_gpr64()
        {
            return None;
        }
        let place = i64::from_ne_bytes(instruction.memory_displacement64().to_ne_bytes());
        match self.registers.get(instruction.memory_base()) {
            Value::Argument(0) => Some(Value::Field(place)),
            Value::Field(field) => Some(Value::Slot { field, slot: place }),
            _ => None,
        }
    }

    fn compare(&mut self, instruction: &Instruction) {
        let narrow =
            instruction.op0_kind() == OpKind::Register && instruction.op0_register().is_gpr32();
        let first = narrow.then(|| self.registers.get(instruction.op0_register()));
        let number = match (instruction.mnemonic(), instruction.op1_kind()) {
            (Mnemonic::Test, OpKind::Register)
                if instruction.op0_register() == instruction.op1_register() =>
            {
                Some(0)
            }
            (Mnemonic::Cmp, OpKind::Immediate8to32 | OpKind::Immediate32) => {
                Some(low(i64::from_ne_bytes(instruction.immediate(1).to_ne_bytes())).into())
            }
            _ => None,
        };
        if let Some(compared) = first.zip(number) {
            self.compared = Some(compared);
        } else if instruction.rflags_modified() != RflagsBits::NONE {
            self.compared = None;
        }
    }

    /// A conditional branch is taken, or is not.
    pub(super) fn branch(&mut self, condition: ConditionCode, taken: bool) {
        let Some((value, with)) = self.compared else { return };
        let refused = match (condition, taken) {
            (ConditionCode::e, true)
            | (ConditionCode::ne, false)
            | (ConditionCode::le, true)
            | (ConditionCode::g, false) => with <= 0,
            (ConditionCode::l, true) | (ConditionCode::ge, false) => with <= 1,
            (ConditionCode::s, true) | (ConditionCode::ns, false) => with == 0,
            _ => false,
        };
        if refused && !self.refused.contains(&value) {
            self.refused.push(value);
        }
    }
}

/// The low half of a value.
fn half(value: Value) -> Option<Value> {
    match value {
        Value::Argument(number) | Value::Half(number) => Some(Value::Half(number)),
        Value::Number(number) => Some(Value::Number(low(number).into())),
        _ => None,
    }
}

/// A number as an `int`.
#[expect(clippy::cast_possible_truncation, reason = "that is what is asked for")]
const fn low(number: i64) -> i32 {
    number as i32
}
