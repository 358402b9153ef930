//! Where in a function the probe goes: at an instruction that is cheap to probe, and at which
//! everything is still as it was when the function was called.
//!
//! Comes in: the code of a function and what the programs on it need. Goes out: one [`Site`] for
//! all of them. What cannot be proven is the function's first instruction, as everywhere else.
//!
//! A plan moves only in the straight line from the first instruction to the first branch, so every
//! call comes through it. It is refused when anything else can get into that line.
//!
//! A function that reads is probed near its end instead where that is as good (`ends/`). Go's
//! functions have no uretprobe, so theirs is another plan (`go/`).

mod aarch64;
pub(crate) mod confirm;
mod emulation;
pub(crate) mod ends;
mod flow;
pub(crate) mod go;
mod prologue;
mod state;
#[cfg(test)]
mod tests;

use std::ops::Range;

use tlstap_ebpf::Function;

use super::elf::Elf;

/// How the kernel executes the instruction that a probe has replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It is emulated: some 0.7 µs a hit.
    Emulated,
    /// It is single-stepped out of line: two traps more. Also where that is not known.
    Stepped,
}

impl Class {
    /// The fixed word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Emulated => "emulated",
            Self::Stepped => "stepped",
        }
    }
}

/// The instruction that the programs of a probe are attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Bytes from the function's first instruction.
    pub offset: u64,
    /// What a hit costs.
    pub class: Class,
}

impl Site {
    /// The function's first instruction, of which nothing is known.
    pub const PLAIN: Self = Self { offset: 0, class: Class::Stepped };
}

/// A function in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    pub(crate) address: u64,
    /// Bytes; 0 where it is not known.
    pub(crate) size: u64,
}

/// What must be at the site as it is at the function's first instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The first arguments, so many of them. At most five.
    pub(crate) arguments: usize,
    /// The stack pointer: a uretprobe replaces the return address there, and a call is known by it.
    pub(crate) stack: bool,
    /// The memory of the process: nothing is stored before, but in the function's own frame. A
    /// program that reads registers only comes to the same whether the function has begun to fill
    /// in its object or not.
    pub(crate) memory: bool,
}

impl Needs {
    /// What the kernel half reads when this function is called.
    pub(crate) const fn of(function: Function) -> Self {
        let arguments = match function {
            // Of the last nothing is read at its entry.
            Function::Free
            | Function::Clear
            | Function::Shutdown
            | Function::Handshake
            | Function::Uncork
            | Function::New
            | Function::ReadEnd => 1,
            // They have plans of their own.
            Function::GoRead
            | Function::GoWrite
            | Function::GoReturn
            | Function::GoClose
            | Function::GoHandshake => 0,
            Function::SetTransport
            | Function::SetDescriptor
            | Function::ReadPacket
            | Function::WriteVectors
            | Function::WriteChunks
            | Function::TakePlaintext => 2,
            Function::Read | Function::Write | Function::Peek | Function::BioWrite => 3,
            Function::ReadEx
            | Function::ReadUnlessPeek
            | Function::WriteVectorsFrom
            | Function::WriteEx
            | Function::ReadEarlyData
            | Function::WriteEarlyData => 4,
            Function::WriteEx2 | Function::Sendfile => 5,
        };
        let stack = function.is_followed();
        let memory = stack || matches!(function, Function::BioWrite | Function::TakePlaintext);
        Self { arguments, stack, memory }
    }
}

/// The instructions that code consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    X86_64,
    Aarch64,
}

/// Code to plan in.
pub(crate) trait Code {
    fn architecture(&self) -> Architecture;

    /// The code at an address: at most `len` bytes, fewer where it ends.
    fn bytes(&self, address: u64, len: u64) -> Option<&[u8]>;

    /// Whether a function is said to begin at one of these addresses.
    fn begins_in(&self, addresses: &Range<u64>) -> bool;
}

impl Code for Elf<'_> {
    fn architecture(&self) -> Architecture {
        self.architecture()
    }

    fn bytes(&self, address: u64, len: u64) -> Option<&[u8]> {
        self.code(address, len)
    }

    fn begins_in(&self, addresses: &Range<u64>) -> bool {
        self.symbols().begin_in(addresses)
    }
}

/// The best site in a function.
pub(crate) fn plan(code: &impl Code, function: Extent, needs: Needs) -> Site {
    let cheap = match code.architecture() {
        Architecture::X86_64 => x86_64(code, function, needs),
        Architecture::Aarch64 => aarch64::cheap(code, function, needs),
    };
    cheap.map_or(Site::PLAIN, |offset| Site { offset, class: Class::Emulated })
}

/// Bytes from the function's first instruction to the cheap one.
fn x86_64(code: &impl Code, function: Extent, needs: Needs) -> Option<u64> {
    let cheap = prologue::cheap(code, function, needs)?;
    let offset = cheap.place.start;
    (offset == 0 || flow::only_from_the_start(code, function, &cheap)).then_some(offset)
}
