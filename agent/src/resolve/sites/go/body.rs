//! All that a function of Go consists of, and every way out of it.
//!
//! Go's compiler puts nothing but instructions into a function, one behind the other: tables that
//! are jumped through lie elsewhere. So the instructions are counted from the first to the last, and
//! that they are the ones that are executed is seen from the branches, all of which must lead to
//! one of them. What cannot be followed, an indirect jump, or leaves in another way than by a
//! return, refuses the whole.
//!
//! Deferred calls are behind an own `ret`, to which only the runtime leads
//! (src/cmd/compile/internal/ssagen/ssa.go, `deferreturn`): therefore not only what branches lead
//! to counts.

use std::ops::Range;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction};

/// Every return, in bytes from the first instruction.
pub(super) fn exits(code: &[u8], address: u64, check: &Range<u64>) -> Option<Vec<u64>> {
    let body = Body::decode(code, address, check)?;
    let growth = body.growth()?;
    if !body.ends() || !body.instructions.iter().all(|found| body.stays(found, growth)) {
        return None;
    }
    let returns = body.instructions.iter().filter(|instruction| returns(instruction));
    Some(returns.map(|instruction| instruction.ip() - address).collect())
}

struct Body {
    instructions: Vec<Instruction>,
    /// The function's addresses.
    extent: Range<u64>,
    /// The branch behind the stack check.
    check: Range<u64>,
}

impl Body {
    fn decode(code: &[u8], address: u64, check: &Range<u64>) -> Option<Self> {
        let instructions: Vec<_> =
            Decoder::with_ip(64, code, address, DecoderOptions::NONE).iter().collect();
        let valid = !instructions.iter().any(Instruction::is_invalid);
        let end = address.checked_add(u64::try_from(code.len()).ok()?)?;
        let check = address.checked_add(check.start)?..address.checked_add(check.end)?;
        valid.then_some(Self { instructions, extent: address..end, check })
    }

    /// The instructions from an address on, if one starts there.
    fn from(&self, address: u64) -> Option<&[Instruction]> {
        let place = self.instructions.binary_search_by_key(&address, Instruction::ip).ok()?;
        self.instructions.get(place..)
    }

    /// Where the jump is that begins the function again: behind a call that gives it more stack,
    /// between instructions that keep its arguments.
    fn growth(&self) -> Option<u64> {
        let check = self.from(self.check.start)?.first()?;
        let way = self.from(check.near_branch_target())?;
        let end = way.iter().position(|found| {
            !matches!(found.flow_control(), FlowControl::Next | FlowControl::Call)
        })?;
        let calls = way.iter().take(end).filter(|found| found.is_call_near()).count();
        let jump = way.get(end)?;
        (calls == 1 && self.begins_again(jump)).then_some(jump.ip())
    }

    fn begins_again(&self, jump: &Instruction) -> bool {
        jump.flow_control() == FlowControl::UnconditionalBranch
            && jump.near_branch_target() == self.extent.start
    }

    /// Whether an instruction leads to others of the function, returns, or does not go on at all.
    fn stays(&self, instruction: &Instruction, growth: u64) -> bool {
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::IndirectCall => true,
            FlowControl::Exception | FlowControl::Interrupt => true,
            FlowControl::Return => returns(instruction),
            // To a function, itself too, but not into it; a system call leads nowhere.
            FlowControl::Call => {
                let target = instruction.near_branch_target();
                target == self.extent.start || !self.extent.contains(&target)
            }
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch => {
                instruction.ip() == growth || self.leads_inside(instruction)
            }
            FlowControl::IndirectBranch | FlowControl::XbeginXabortXend => false,
        }
    }

    /// Whether a branch leads to an instruction of the function behind the stack check.
    fn leads_inside(&self, branch: &Instruction) -> bool {
        let target = branch.near_branch_target();
        target >= self.check.end && self.from(target).is_some()
    }

    /// Whether nothing goes on behind the last instruction.
    fn ends(&self) -> bool {
        self.instructions.last().is_some_and(|last| {
            matches!(
                last.flow_control(),
                FlowControl::Return
                    | FlowControl::UnconditionalBranch
                    | FlowControl::Exception
                    | FlowControl::Interrupt
            )
        })
    }
}

/// Whether an instruction is the one that Go returns with.
fn returns(instruction: &Instruction) -> bool {
    instruction.code() == Code::Retnq && instruction.len() == 1
}
