//! The entry site of every function of programs of Go, held against what the function does: executed
//! step by step with enough stack and with too little, it must come to the site with all as it was
//! when it was called, and with too little stack come there again.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    path::Path,
};

use libc::user_regs_struct;

use super::{
    super::{
        machine::{Machine, Stepped},
        property::{Known, Random},
    },
    *,
};

/// Most instructions to a site, and through what grows the stack.
const TO_SITE: usize = 4;
const GROWTH: usize = 64;

/// Where a goroutine holds the bound of its stack (`g.stackguard0`, runtime/runtime2.go).
const BOUND: u64 = 16;

/// One in so many functions is made to grow the stack.
const GROWS: usize = 4;

/// What carries arguments, and what must stay beside.
fn carried(registers: &user_regs_struct) -> [u64; 12] {
    let &user_regs_struct { rax, rbx, rcx, rdi, rsi, r8, r9, r10, r11, rdx, r14, rsp, .. } =
        registers;
    [rax, rbx, rcx, rdi, rsi, r8, r9, r10, r11, rdx, r14, rsp]
}

/// What an argument may be that is put by and taken back in its own width: a part of it, with or
/// without its sign, in a register that then has no more than 32 bits of it, or all.
fn narrowed(value: u64) -> [u64; 7] {
    let [byte, second, third, fourth, ..] = value.to_le_bytes();
    let half = u16::from_le_bytes([byte, second]);
    let word = u32::from_le_bytes([byte, second, third, fourth]);
    let signed_half = i32::from(half.cast_signed()).cast_unsigned();
    let signed_byte = i32::from(byte.cast_signed()).cast_unsigned();
    let signed_word = i64::from(word.cast_signed()).cast_unsigned();
    let parts = [word, half.into(), signed_half, byte.into(), signed_byte].map(u64::from);
    let [word, half, signed_half, byte, signed_byte] = parts;
    [value, word, signed_word, half, signed_half, byte, signed_byte]
}

/// A function in a process.
struct Entered<'m> {
    machine: &'m mut Machine,
    start: u64,
    site: u64,
    called: user_regs_struct,
    stack: u64,
}

impl<'m> Entered<'m> {
    /// Enters it on a goroutine with this bound.
    fn new(
        machine: &'m mut Machine,
        (start, site): (u64, u64),
        random: &mut Random,
        bound: u64,
    ) -> Self {
        let r14 = machine.data();
        let called = user_regs_struct { r14, ..random.registers(r14) };
        let stack = machine.enter(start, called);
        machine.write(r14 + BOUND, &bound.to_ne_bytes());
        Self { machine, start, site, called: user_regs_struct { rsp: stack, ..called }, stack }
    }

    /// Goes on to the site. What carries something there.
    fn at_site(&mut self) -> [u64; 12] {
        for _ in 0..TO_SITE {
            if self.machine.registers().rip == self.site {
                break;
            }
            assert_eq!(self.machine.step(), Stepped::Went);
        }
        let now = self.machine.registers();
        assert_eq!(now.rip, self.site);
        carried(&now)
    }

    /// Goes on to the site. All must be as it was when the function was called.
    fn comes_to_site(&mut self) {
        assert_eq!(self.at_site(), carried(&self.called));
    }

    /// Goes on to the site, behind what has put arguments by and taken them back.
    fn comes_again(&mut self) {
        let pairs = carried(&self.called).into_iter().zip(self.at_site());
        for (called, now) in pairs {
            assert!(narrowed(called).contains(&now), "{called:#x} is {now:#x}");
        }
    }

    /// Goes on from the site until what it calls for more stack, and behind that to the function's
    /// first instruction. Gives what it calls.
    fn grows(&mut self) -> u64 {
        let mut called = None;
        for _ in 0..GROWTH {
            assert_eq!(self.machine.step(), Stepped::Went);
            let now = self.machine.registers();
            if now.rip == self.start {
                break;
            }
            if now.rsp != self.stack {
                assert_eq!(now.rsp, self.stack - 8);
                assert_eq!(called.replace(now.rip), None);
                let rip = self.machine.read(now.rsp).map(u64::from_ne_bytes).unwrap();
                self.machine.set(&user_regs_struct { rip, rsp: self.stack, ..now });
            }
        }
        called.unwrap()
    }
}

/// Executes a function with enough stack, and with too little if that is asked for.
fn confirm(
    machine: &mut Machine,
    places: (u64, u64),
    random: &mut Random,
    grows: bool,
) -> Option<u64> {
    Entered::new(machine, places, random, 0).comes_to_site();
    if !grows {
        return None;
    }
    let mut entered = Entered::new(machine, places, random, u64::MAX);
    entered.comes_to_site();
    let called = entered.grows();
    entered.comes_again();
    Some(called)
}

/// The kinds of stack checks there are: how long the comparison is, and the first byte of the branch.
const KINDS: [(u64, u8); 6] = [(4, 0x76), (4, 0x0f), (9, 0x76), (9, 0x0f), (12, 0x76), (12, 0x0f)];

/// Confirms all plans for the functions of a program. Gives the kinds that were there.
fn confirm_all(program: &Path) -> BTreeSet<(u64, u8)> {
    let source = Source::new(File::open(program).unwrap());
    let elf = Elf::parse(&source).unwrap();
    let functions = functions(&elf);
    let code = Known { elf: &elf, functions: &functions };
    let plans: BTreeMap<u64, Plan> = functions
        .iter()
        .filter_map(|(&address, &(size, _))| {
            Some((address, plan(&code, Extent { address, size })?))
        })
        .collect();
    let (&one, _) = plans.first_key_value().unwrap();
    let mut machine = Machine::started(program, one, elf.code_offset(one).unwrap());
    let mut random = Random(0x601);
    for (number, (address, plan)) in plans.iter().enumerate() {
        let start = machine.base.wrapping_add(*address);
        let places = (start, start + plan.entry.offset);
        let called = confirm(&mut machine, places, &mut random, number % GROWS == 0);
        if let Some(called) = called {
            let (_, name) = functions[&called.wrapping_sub(machine.base)];
            assert!(name.starts_with(b"runtime.morestack"), "{}", String::from_utf8_lossy(name));
        }
    }
    let kind = |(address, plan): (&u64, &Plan)| {
        let offset = plan.entry.offset;
        (offset, elf.code(address + offset, 1).unwrap()[0])
    };
    let kinds = plans.iter().map(kind).collect();
    println!("{}: {} of {} functions", program.display(), plans.len(), functions.len());
    for name in ["crypto/tls.(*Conn).Read", "crypto/tls.(*Conn).Write"] {
        let of_name = |(_, other): &(u64, &[u8])| *other == name.as_bytes();
        let (address, _) = functions.iter().find(|(_, function)| of_name(function)).unwrap();
        // What the whole is for.
        println!("    {name}: {} exits", plans[address].exits.len());
    }
    kinds
}

#[test]
fn entry_sites_are_as_the_call() {
    for program in programs() {
        // What is planned for is confirmed, each kind in each program.
        assert_eq!(confirm_all(program), BTreeSet::from(KINDS));
    }
}
