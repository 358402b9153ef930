//! The table of methods that `ssl_InitIOLayer` fills in (lib/ssl/sslsock.c).
//!
//! It asks for a number for its layer, copies NSPR's own methods, and puts its functions over them,
//! one after the other. The compiler knows them, and leaves nothing but their addresses in the code, or
//! a constant table of them. What the function stores is followed along its one straight line, and only
//! believed if each function that is found compares the descriptor's layer with that number.

use std::{collections::HashSet, ops::Range};

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};

use super::values::{Value, Values};
use crate::resolve::{
    elf::Elf,
    sites::{Architecture, Extent},
};

/// Most functions of a file, and bytes of its code, with which it is looked at: libssl3 has 900 in
/// 250 KiB.
const FUNCTIONS: usize = 1 << 14;
const CODE: u64 = 4 << 20;

/// Where the linker puts what jumps to functions of other files.
const STUBS: [&[u8]; 3] = [b".plt", b".plt.sec", b".plt.got"];

/// Most instructions of a function that are followed.
const FOLLOWED: usize = 1 << 10;

/// `PR_DESC_LAYERED`, with which the table begins (nspr/prio.h).
const LAYERED: u64 = 4;

/// The functions at these places of the table. `None` when they are not all known for certain.
pub(super) fn find<const N: usize>(elf: &Elf<'_>, places: [u64; N]) -> Option<Vec<Extent>> {
    if elf.architecture() != Architecture::X86_64 {
        return None;
    }
    let file = File::of(elf)?;
    let mut tables = file.functions.iter().filter_map(|function| file.table(*function));
    let (table, layer) = tables.next()?;
    // Two would be none.
    if tables.next().is_some() {
        return None;
    }
    places.into_iter().map(|place| file.checked(table.at(place)?, layer)).collect()
}

/// What a function stored: values, by their addresses, and where the table begins.
struct Table {
    begin: u64,
    values: Vec<(u64, Value)>,
}

impl Table {
    fn at(&self, place: u64) -> Option<u64> {
        let address = self.begin.checked_add(place)?;
        let stored = self.values.iter().find(|(at, _)| *at == address)?;
        match stored.1 {
            Value::Address(function) => Some(function),
            Value::Layer => None,
        }
    }
}

/// Code, and its first address.
struct Code<'d> {
    begin: u64,
    bytes: &'d [u8],
}

impl<'d> Code<'d> {
    /// That of a section; `None` when there is none, or too much.
    fn of(elf: &Elf<'d>, section: &[u8]) -> Option<Self> {
        let Range { start, end } = elf.extent(section)?;
        let size = end.checked_sub(start).filter(|&size| size <= CODE)?;
        Some(Self { begin: start, bytes: elf.code(start, size)? })
    }

    /// The instructions from an address on; `None` when it lies elsewhere.
    fn instructions(&self, place: Extent) -> Option<impl Iterator<Item = Instruction> + use<'d>> {
        let start = usize::try_from(place.address.checked_sub(self.begin)?).ok()?;
        let rest = self.bytes.get(start..).filter(|rest| !rest.is_empty())?;
        let code = rest.get(..rest.len().min(usize::try_from(place.size).ok()?))?;
        let decoder = Decoder::with_ip(64, code, place.address, DecoderOptions::NONE);
        Some(decoder.into_iter().take_while(|instruction| !instruction.is_invalid()))
    }
}

struct File<'e, 'd> {
    elf: &'e Elf<'d>,
    text: Code<'d>,
    stubs: Vec<Code<'d>>,
    /// Ascending.
    functions: Vec<Extent>,
    /// Where the addresses are of `PR_GetDefaultIOMethods` and `PR_GetUniqueIdentity`.
    methods: HashSet<u64>,
    identity: HashSet<u64>,
}

impl<'e, 'd> File<'e, 'd> {
    /// `None` for a file that does not use both, or is too large.
    fn of(elf: &'e Elf<'d>) -> Option<Self> {
        let imported = |name: &[u8]| {
            let places: HashSet<_> = elf.imports(name).into_iter().collect();
            (!places.is_empty()).then_some(places)
        };
        let methods = imported(b"PR_GetDefaultIOMethods")?;
        let identity = imported(b"PR_GetUniqueIdentity")?;
        let text = Code::of(elf, b".text")?;
        let stubs = STUBS.iter().filter_map(|name| Code::of(elf, name)).collect();
        let place = elf.extent(b".text")?;
        let starts = elf.starts(FUNCTIONS)?;
        let ends = starts.iter().skip(1).copied().chain([place.end]);
        let functions = starts
            .iter()
            .zip(ends)
            .filter(|(start, _)| place.contains(start))
            .map(|(&address, end)| Extent { address, size: end.saturating_sub(address) })
            .collect();
        Some(Self { elf, text, stubs, functions, methods, identity })
    }

    fn instructions(&self, function: Extent) -> impl Iterator<Item = Instruction> + use<'d> {
        self.text.instructions(function).into_iter().flatten()
    }

    /// Where the address is of the function of another file that is called.
    fn imported(&self, call: &Instruction) -> Option<u64> {
        match call.flow_control() {
            FlowControl::IndirectCall => slot(call),
            FlowControl::Call => {
                let stub = Extent { address: call.near_branch_target(), size: 16 };
                let mut instructions =
                    self.stubs.iter().find_map(|code| code.instructions(stub))?.take(2);
                let leaves =
                    |found: &Instruction| found.flow_control() == FlowControl::IndirectBranch;
                slot(&instructions.find(leaves)?)
            }
            _ => None,
        }
    }

    fn calls(&self, function: Extent, places: &HashSet<u64>) -> bool {
        self.instructions(function)
            .any(|instruction| self.imported(&instruction).is_some_and(|at| places.contains(&at)))
    }

    /// The table that a function makes of NSPR's, and where it keeps the number of the layer.
    fn table(&self, function: Extent) -> Option<(Table, u64)> {
        if !self.calls(function, &self.methods) {
            return None;
        }
        let mut values = Values::new(self.elf);
        for instruction in self.instructions(function).take(FOLLOWED) {
            match instruction.flow_control() {
                FlowControl::Next => values.step(&instruction),
                FlowControl::Call | FlowControl::IndirectCall => {
                    let called = self.imported(&instruction);
                    let is_identity = called.is_some_and(|at| self.identity.contains(&at));
                    values.call(is_identity.then_some(Value::Layer));
                }
                _ => break,
            }
        }
        let (numbers, values) = values.stored();
        let (begin, _) = sole(numbers.into_iter().filter(|(_, number)| *number == LAYERED))?;
        let (layer, _) = sole(values.iter().copied().filter(|(_, value)| *value == Value::Layer))?;
        Some((Table { begin, values }, layer))
    }

    /// A function that starts there and looks at the number of the layer, or calls what does.
    fn checked(&self, address: u64, layer: u64) -> Option<Extent> {
        let function = self.at(address)?;
        let looks = |function| self.instructions(function).any(|found| slot(&found) == Some(layer));
        let calls_what_looks = || {
            self.instructions(function)
                .filter(Instruction::is_call_near)
                .filter_map(|call| self.at(call.near_branch_target()))
                .any(looks)
        };
        (looks(function) || calls_what_looks()).then_some(function)
    }

    fn at(&self, address: u64) -> Option<Extent> {
        let index = self.functions.binary_search_by_key(&address, |known| known.address).ok()?;
        self.functions.get(index).copied()
    }
}

/// The address of the memory of the file that an instruction uses.
fn slot(instruction: &Instruction) -> Option<u64> {
    instruction.is_ip_rel_memory_operand().then(|| instruction.ip_rel_memory_address())
}

fn sole<T: Copy>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.next().is_none().then_some(first)
}
