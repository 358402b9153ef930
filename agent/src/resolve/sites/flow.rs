//! Whether the beginning of a function is reached only by calling the function.
//!
//! A probe behind the first instruction is hit once a call only when nothing leads back to it: a
//! loop would hit it again, with another stack pointer and other arguments.
//!
//! Direct branches are followed, all of them. An indirect jump must be known to go to a function, or
//! to where the frame is larger than at the function's beginning. What remains, jumps to computed
//! addresses without a frame, could go anywhere.

use std::{collections::HashMap, ops::Range};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory};

use super::{
    Code, Extent,
    prologue::Cheap,
    state::{Depth, Registers, State},
};

/// Most instructions that are followed; a function with more is not known.
const MOST: usize = 16_384;

/// Bytes that are read at once.
const CHUNK: u64 = 512;

/// Bytes of the longest instruction.
const LONGEST: u64 = 15;

/// Whether what lies behind the first instruction, up to this one, is reached only from there: by
/// following every way through the function, and through what it jumps to. A jump to the first
/// instruction is a call like any other.
pub(super) fn only_from_the_start(code: &impl Code, function: Extent, cheap: &Cheap) -> bool {
    let Some(end) = function.address.checked_add(cheap.place.end) else { return false };
    let line = function.address.saturating_add(1)..end;
    let walk = Walk {
        code,
        line,
        function,
        deepest: cheap.deepest,
        info: InstructionInfoFactory::new(),
        known: HashMap::new(),
        steps: 0,
        todo: vec![(function.address, State::START)],
    };
    walk.run().is_some()
}

struct Walk<'c, C> {
    code: &'c C,
    /// Where nothing may lead.
    line: Range<u64>,
    function: Extent,
    /// How deep the stack is there, at most.
    deepest: i64,
    info: InstructionInfoFactory,
    /// The pointers that are known at an address, with the depth of the stack there: what stands
    /// behind a call that does not return is gone through with that depth too.
    known: HashMap<(u64, Depth), Registers>,
    steps: usize,
    todo: Vec<(u64, State)>,
}

/// Whether the instruction behind another is reached from it.
enum Next {
    Follows,
    Ends,
}

impl<C: Code> Walk<'_, C> {
    fn run(mut self) -> Option<()> {
        if self.code.begins_in(&self.line) {
            return None;
        }
        while let Some((address, state)) = self.todo.pop() {
            self.block(address, state)?;
        }
        Some(())
    }

    /// Follows the instructions from an address to the end of its block.
    fn block(&mut self, start: u64, mut state: State) -> Option<()> {
        let bytes = self.code.bytes(start, CHUNK)?;
        let whole = u64::try_from(bytes.len()).ok()? < CHUNK;
        for instruction in Decoder::with_ip(64, bytes, start, DecoderOptions::NONE).iter() {
            let address = instruction.ip();
            // What is cut off is read again.
            if !whole && address.checked_sub(start)? > CHUNK - LONGEST {
                self.todo.push((address, state));
                return Some(());
            }
            let fell = address != start && self.is_behind_the_end(address);
            if fell || !self.learn(address, &mut state) {
                return Some(());
            }
            self.steps += 1;
            if instruction.is_invalid() || self.steps > MOST {
                return None;
            }
            let before = state;
            state = state.behind(&instruction, &mut self.info);
            if matches!(self.step(&instruction, before)?, Next::Ends) {
                return Some(());
            }
        }
        // The code ends without a branch.
        None
    }

    /// Brings what is known on all ways to an address together. Whether that is new.
    fn learn(&mut self, address: u64, state: &mut State) -> bool {
        let Some(known) = self.known.get_mut(&(address, state.depth)) else {
            self.known.insert((address, state.depth), state.pointers);
            return true;
        };
        let both = *known & state.pointers;
        let less = both != *known;
        *known = both;
        state.pointers = both;
        less
    }

    /// What comes after the function comes after a call that does not return.
    fn is_behind_the_end(&self, address: u64) -> bool {
        self.function.size > 0
            && self.function.address.checked_add(self.function.size) == Some(address)
    }

    fn step(&mut self, instruction: &Instruction, state: State) -> Option<Next> {
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::IndirectCall => Some(Next::Follows),
            FlowControl::Call => self.elsewhere(instruction).map(|_| Next::Follows),
            FlowControl::ConditionalBranch => {
                let target = self.elsewhere(instruction)?;
                self.todo.push((target, state));
                Some(Next::Follows)
            }
            FlowControl::UnconditionalBranch => {
                let target = self.elsewhere(instruction)?;
                self.todo.push((target, state));
                Some(Next::Ends)
            }
            FlowControl::IndirectBranch => {
                state.leaves(instruction, self.deepest).then_some(Next::Ends)
            }
            FlowControl::Return | FlowControl::Exception | FlowControl::Interrupt => {
                Some(Next::Ends)
            }
            FlowControl::XbeginXabortXend => None,
        }
    }

    /// Where a direct branch leads, unless that is into the line. A system call leads nowhere.
    fn elsewhere(&self, instruction: &Instruction) -> Option<u64> {
        let target = instruction.near_branch_target();
        (!self.line.contains(&target)).then_some(target)
    }
}
