//! What is known of registers and of the file's memory along a straight line of instructions: addresses
//! in the file, and what stands for the number of a layer.

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
};

use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register};

use crate::resolve::elf::Elf;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// An address, as it is when the file is loaded at address 0.
    Address(u64),
    /// What `PR_GetUniqueIdentity` gave.
    Layer,
}

/// The two halves of a register of 16 bytes; of other registers the first is the whole.
type Halves = [Option<Value>; 2];

/// Where the System V ABI for AMD64 (version 1.0, section 3.2.3) keeps what a call does not change.
const KEPT: [Register; 7] = [
    Register::RBX,
    Register::RBP,
    Register::RSP,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];

pub(super) struct Values<'e, 'd> {
    elf: &'e Elf<'d>,
    info: InstructionInfoFactory,
    registers: HashMap<Register, Halves>,
    stored: BTreeMap<u64, Value>,
    numbers: BTreeMap<u64, u64>,
    /// How many pointers may still be looked up.
    loads: Cell<u32>,
}

/// Most pointers that are looked up, each among all relocations: twice what such a table has.
const LOADS: u32 = 72;

impl<'e, 'd> Values<'e, 'd> {
    pub(super) fn new(elf: &'e Elf<'d>) -> Self {
        let (registers, stored, numbers) = (HashMap::new(), BTreeMap::new(), BTreeMap::new());
        let (info, loads) = (InstructionInfoFactory::new(), Cell::new(LOADS));
        Self { elf, info, registers, stored, numbers, loads }
    }

    /// The numbers and the values that were stored, by their addresses.
    pub(super) fn stored(self) -> (BTreeMap<u64, u64>, Vec<(u64, Value)>) {
        (self.numbers, self.stored.into_iter().collect())
    }

    /// A call, which gives this.
    pub(super) fn call(&mut self, result: Option<Value>) {
        self.registers.retain(|register, _| KEPT.contains(register));
        self.registers.insert(Register::RAX, [result, None]);
    }

    /// An instruction that is followed by the next.
    pub(super) fn step(&mut self, instruction: &Instruction) {
        match (instruction.op0_kind(), self.halves(instruction)) {
            (OpKind::Register, Some(halves)) => {
                self.registers.insert(instruction.op0_register().full_register(), halves);
            }
            (OpKind::Memory, Some(halves)) => self.store(instruction, halves),
            _ => self.forget(instruction),
        }
    }

    /// What an instruction leaves in its first operand. `None` when it is not known.
    fn halves(&self, instruction: &Instruction) -> Option<Halves> {
        let [low, high] = self.source(instruction);
        let [kept_low, kept_high] = self.register(instruction.op0_register());
        match instruction.mnemonic() {
            Mnemonic::Lea => Some([self.address(instruction).map(Value::Address), None]),
            // A number is no address, but those that are stored are kept.
            Mnemonic::Mov => Some([low, None]),
            Mnemonic::Movq => Some([low, None]),
            Mnemonic::Movdqa
            | Mnemonic::Movdqu
            | Mnemonic::Movaps
            | Mnemonic::Movups
            | Mnemonic::Movapd => Some([low, high]),
            Mnemonic::Punpcklqdq | Mnemonic::Unpcklpd | Mnemonic::Movlhps => Some([kept_low, low]),
            Mnemonic::Movhps | Mnemonic::Movhpd if instruction.op0_kind() == OpKind::Memory => {
                Some([high, None])
            }
            Mnemonic::Movhps | Mnemonic::Movhpd => Some([kept_low, low]),
            Mnemonic::Pinsrq if instruction.immediate8() == 1 => Some([kept_low, low]),
            Mnemonic::Pinsrq => Some([low, kept_high]),
            _ => None,
        }
    }

    fn source(&self, instruction: &Instruction) -> Halves {
        match instruction.op1_kind() {
            OpKind::Register => self.register(instruction.op1_register()),
            OpKind::Memory => {
                let at = |more| self.load(self.address(instruction)?.checked_add(more)?);
                [at(0), at(8)]
            }
            _ => [None, None],
        }
    }

    fn register(&self, register: Register) -> Halves {
        self.registers.get(&register.full_register()).copied().unwrap_or_default()
    }

    /// A pointer that the file has there.
    fn load(&self, address: u64) -> Option<Value> {
        self.loads.set(self.loads.get().checked_sub(1)?);
        let pointer = self.elf.pointer(address)?;
        self.elf.is_text(pointer).then_some(Value::Address(pointer))
    }

    /// The address of an instruction's memory.
    fn address(&self, instruction: &Instruction) -> Option<u64> {
        if instruction.is_ip_rel_memory_operand() {
            return Some(instruction.ip_rel_memory_address());
        }
        let base = match self.register(instruction.memory_base())[0]? {
            Value::Address(base) => base,
            Value::Layer => return None,
        };
        (instruction.memory_index() == Register::None)
            .then(|| base.wrapping_add(instruction.memory_displacement64()))
    }

    fn store(&mut self, instruction: &Instruction, halves: Halves) {
        let Some(address) = self.address(instruction) else { return };
        if instruction.op1_kind() == OpKind::Immediate32 {
            self.numbers.insert(address, instruction.immediate32().into());
        }
        let words = instruction.memory_size().size().div_ceil(8);
        for (half, place) in halves.into_iter().zip([address, address.wrapping_add(8)]).take(words)
        {
            match half {
                Some(value) => self.stored.insert(place, value),
                None => self.stored.remove(&place),
            };
        }
    }

    /// Registers that are written hold what is not known.
    fn forget(&mut self, instruction: &Instruction) {
        for used in self.info.info(instruction).used_registers() {
            if !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None) {
                self.registers.remove(&used.register().full_register());
            }
        }
    }
}
