//! Every way through a function, from its first instruction to where it is left.

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, OpKind, Register,
};

use super::{
    super::{Code, emulation},
    state::{ARGUMENTS, Registers, State, Value},
};

/// Most instructions that are followed, on all ways together; a function with more is not known.
const MOST: usize = 16_384;

/// Bytes of the longest instruction.
const LONGEST: u64 = 15;

/// A cheap instruction that a way led over, behind a call.
#[derive(Clone, Debug)]
pub(super) struct Passed {
    pub(super) address: u64,
    pub(super) registers: Registers,
    /// Another result was made, or another function called, since.
    pub(super) outdated: bool,
    /// What the function would return then is not greater than 0.
    pub(super) refused: bool,
}

impl Passed {
    pub(super) fn result(&self) -> Value {
        self.registers.get(Register::RAX)
    }
}

/// How a way leaves the function.
#[derive(Debug)]
pub(super) enum Left {
    /// It returns; `refused`: nothing greater than 0, as an `int`.
    Returned { result: Value, refused: bool, passed: Vec<Passed> },
    /// It jumps to another, before anything was called, with its stack as it was.
    Jumped { target: u64, arguments: [Value; ARGUMENTS.len()] },
    /// It jumps to what a register or memory says.
    Lost,
}

/// A call, or a jump, to what a register or memory says.
#[derive(Debug)]
pub(super) struct Indirect {
    pub(super) target: Value,
    pub(super) arguments: [Value; ARGUMENTS.len()],
}

/// All ways through a function.
#[derive(Debug, Default)]
pub(super) struct Ways {
    pub(super) left: Vec<Left>,
    pub(super) indirect: Vec<Indirect>,
}

/// One way, up to some place.
#[derive(Clone)]
struct Way {
    address: u64,
    state: State,
    /// The instructions that it led over.
    over: Vec<u64>,
    called: bool,
    passed: Vec<Passed>,
}

/// Follows the ways through the function at an address; `None` when they are too many, go in a loop,
/// or lead to what is no code. Every call is taken to return, and to keep what the ABI says.
pub(super) fn ways(code: &impl Code, address: u64) -> Option<Ways> {
    let mut walk = Walk {
        code,
        info: InstructionInfoFactory::new(),
        todo: vec![Way {
            address,
            state: State::called(address),
            over: Vec::new(),
            called: false,
            passed: Vec::new(),
        }],
        found: Ways::default(),
    };
    for _ in 0..MOST {
        let Some(way) = walk.todo.pop() else { return Some(walk.found) };
        walk.step(way)?;
    }
    None
}

struct Walk<'c, C> {
    code: &'c C,
    info: InstructionInfoFactory,
    todo: Vec<Way>,
    found: Ways,
}

impl<C: Code> Walk<'_, C> {
    /// Goes over one instruction.
    fn step(&mut self, mut way: Way) -> Option<()> {
        let bytes = self.code.bytes(way.address, LONGEST)?;
        let instruction = Decoder::with_ip(64, bytes, way.address, DecoderOptions::NONE).decode();
        if instruction.is_invalid() || way.over.contains(&way.address) {
            return None;
        }
        way.over.push(way.address);
        let own = bytes.get(..instruction.len())?;
        let calls = instruction.is_call_near() || instruction.is_call_near_indirect();
        if way.called && !calls && emulation::emulates(own) {
            way.passes();
        }
        way.address = instruction.next_ip();
        match instruction.flow_control() {
            FlowControl::Next => {
                way.goes_on(&instruction, &mut self.info);
                self.todo.push(way);
            }
            FlowControl::Call | FlowControl::IndirectCall => {
                self.note(&instruction, &way.state);
                way.calls(&instruction);
                self.todo.push(way);
            }
            FlowControl::ConditionalBranch => {
                let mut taken = Way { address: instruction.near_branch_target(), ..way.clone() };
                taken.state.branch(instruction.condition_code(), true);
                way.state.branch(instruction.condition_code(), false);
                self.todo.extend([taken, way]);
            }
            FlowControl::UnconditionalBranch => self.jump(way, instruction.near_branch_target()),
            FlowControl::IndirectBranch => {
                self.note(&instruction, &way.state);
                self.found.left.push(Left::Lost);
            }
            FlowControl::Return => {
                let left = way.returns();
                self.found.left.push(left);
            }
            // `ud2` behind what does not return.
            FlowControl::Exception => {}
            FlowControl::Interrupt | FlowControl::XbeginXabortXend => return None,
        }
        Some(())
    }

    fn jump(&mut self, way: Way, target: u64) {
        if way.called || way.state.depth != Some(0) {
            self.todo.push(Way { address: target, ..way });
        } else {
            let arguments = ARGUMENTS.map(|register| way.state.registers.get(register));
            self.found.left.push(Left::Jumped { target, arguments });
        }
    }

    /// Notes where an indirect call or jump goes.
    fn note(&mut self, instruction: &Instruction, state: &State) {
        let target = match instruction.op0_kind() {
            OpKind::Register => Some(state.registers.get(instruction.op0_register())),
            OpKind::Memory => state.loaded(instruction),
            _ => None,
        };
        if let Some(target) = target {
            let arguments = ARGUMENTS.map(|register| state.registers.get(register));
            self.found.indirect.push(Indirect { target, arguments });
        }
    }
}

impl Way {
    fn goes_on(&mut self, instruction: &Instruction, info: &mut InstructionInfoFactory) {
        let before = self.state.registers.get(Register::RAX);
        self.state.pass(instruction, info);
        if self.state.registers.get(Register::RAX) != before {
            self.outdate();
        }
    }

    fn calls(&mut self, instruction: &Instruction) {
        self.state.call(instruction);
        self.called = true;
        self.outdate();
    }

    /// What was passed so far does not tell the result, where it could have been one.
    fn outdate(&mut self) {
        self.passed.iter_mut().for_each(|passed| passed.outdated = true);
    }

    fn passes(&mut self) {
        let (address, registers) = (self.address, self.state.registers);
        self.passed.push(Passed { address, registers, outdated: false, refused: false });
    }

    fn returns(self) -> Left {
        let Self { state, mut passed, .. } = self;
        for passed in &mut passed {
            passed.refused = state.is_refused(passed.result());
        }
        let result = state.registers.get(Register::RAX);
        Left::Returned { result, refused: state.is_refused(result), passed }
    }
}
