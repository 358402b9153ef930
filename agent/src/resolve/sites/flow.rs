//! Whether the beginning of a function is reached only by calling the function.
//!
//! A probe behind the first instruction is hit once a call only when nothing leads back to it: a
//! loop would hit it again, with another stack pointer and other arguments.

use std::{collections::HashSet, ops::Range};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};

use super::{Code, Extent};

/// Most instructions that are followed; a function with more is not known.
const MOST: usize = 16_384;

/// Bytes that are read at once.
const CHUNK: u64 = 512;

/// Bytes of the longest instruction.
const LONGEST: u64 = 15;

/// Whether what lies in the first `end` bytes, behind the first instruction, is reached only from
/// there. That is proven by following every way through the function, and through what it jumps to.
/// A jump to the first instruction is a call like any other.
pub(super) fn only_from_the_start(code: &impl Code, function: Extent, end: u64) -> bool {
    let Some(end) = function.address.checked_add(end) else { return false };
    let line = function.address.saturating_add(1)..end;
    let walk = Walk { code, line, function, seen: HashSet::new(), todo: vec![function.address] };
    walk.run().is_some()
}

struct Walk<'c, C> {
    code: &'c C,
    /// Where nothing may lead.
    line: Range<u64>,
    function: Extent,
    seen: HashSet<u64>,
    todo: Vec<u64>,
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
        while let Some(address) = self.todo.pop() {
            self.block(address)?;
        }
        Some(())
    }

    /// Follows the instructions from an address to the end of its block.
    fn block(&mut self, start: u64) -> Option<()> {
        let bytes = self.code.bytes(start, CHUNK)?;
        let whole = u64::try_from(bytes.len()).ok()? < CHUNK;
        for instruction in Decoder::with_ip(64, bytes, start, DecoderOptions::NONE).iter() {
            let address = instruction.ip();
            // What is cut off is read again.
            if !whole && address.checked_sub(start)? > CHUNK - LONGEST {
                self.todo.push(address);
                return Some(());
            }
            let fell = address != start && self.is_behind_the_end(address);
            if fell || !self.seen.insert(address) {
                return Some(());
            }
            if instruction.is_invalid() || self.seen.len() > MOST {
                return None;
            }
            if matches!(self.step(&instruction)?, Next::Ends) {
                return Some(());
            }
        }
        // The code ends without a branch.
        None
    }

    /// What comes after the function comes after a call that does not return.
    fn is_behind_the_end(&self, address: u64) -> bool {
        self.function.size > 0
            && self.function.address.checked_add(self.function.size) == Some(address)
    }

    fn step(&mut self, instruction: &Instruction) -> Option<Next> {
        match instruction.flow_control() {
            FlowControl::Next | FlowControl::IndirectCall => Some(Next::Follows),
            FlowControl::Call => self.elsewhere(instruction).map(|_| Next::Follows),
            FlowControl::ConditionalBranch => {
                let target = self.elsewhere(instruction)?;
                self.todo.push(target);
                Some(Next::Follows)
            }
            FlowControl::UnconditionalBranch => {
                let target = self.elsewhere(instruction)?;
                self.todo.push(target);
                Some(Next::Ends)
            }
            // The address of a function in a table of imports. What other memory or a register
            // holds could be any address, of this function too.
            FlowControl::IndirectBranch if instruction.is_ip_rel_memory_operand() => {
                Some(Next::Ends)
            }
            FlowControl::Return | FlowControl::Exception | FlowControl::Interrupt => {
                Some(Next::Ends)
            }
            FlowControl::IndirectBranch | FlowControl::XbeginXabortXend => None,
        }
    }

    /// Where a direct branch leads, unless that is into the line. A system call leads nowhere.
    fn elsewhere(&self, instruction: &Instruction) -> Option<u64> {
        let target = instruction.near_branch_target();
        (!self.line.contains(&target)).then_some(target)
    }
}
