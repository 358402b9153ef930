//! Plans for functions of Go: by bytes, by the functions of real programs executed step by step, and
//! by programs that run to their end.

mod calls;
mod entries;
mod exits;

use std::{collections::BTreeMap, path::PathBuf, sync::OnceLock};

use super::{
    super::{
        Class, Site,
        go::{Plan, plan},
    },
    *,
};
use crate::resolve::{elf::Elf, source::Source};

/// `cmp rsp, [r14+16]`; `lea r12, [rsp-8]`, `lea r12, [rsp-0x100]`, and `cmp r12, [r14+16]`
const SMALL: [u8; 4] = [0x49, 0x3b, 0x66, 0x10];
const SHORT: [u8; 5] = [0x4c, 0x8d, 0x64, 0x24, 0xf8];
const LONG: [u8; 8] = [0x4c, 0x8d, 0xa4, 0x24, 0, 0xff, 0xff, 0xff];
const MIDDLE: [u8; 4] = [0x4d, 0x3b, 0x66, 0x10];

/// `push rbp; pop rbp; ret`
const BODY: [u8; 3] = [0x55, 0x5d, 0xc3];

/// A function as Go lays it out: check; jbe grow; body; grow: mov [rsp+8], rax; call; mov rax,
/// [rsp+8]; jmp to the first instruction.
fn function(check: &[u8], body: &[u8]) -> Vec<u8> {
    let growth = [0x48, 0x89, 0x44, 0x24, 8, 0xe8, 0, 0x10, 0, 0, 0x48, 0x8b, 0x44, 0x24, 8];
    let mut code = [check, &[0x76, u8::try_from(body.len()).unwrap()], body, &growth].concat();
    let back = u8::try_from(code.len() + 2).unwrap().wrapping_neg();
    code.extend([0xeb, back]);
    code
}

fn planned(code: &[u8]) -> Option<Plan> {
    plan(&Bytes(code), extent(code))
}

#[track_caller]
fn check(code: &[u8], entry: u64, exits: &[u64]) {
    let exits = exits.iter().map(|&offset| Site { offset, class: Class::Stepped }).collect();
    let entry = Site { offset: entry, class: Class::Emulated };
    assert_eq!(planned(code), Some(Plan { entry, exits }), "{code:02x?}");
}

#[track_caller]
fn refused(body: &[u8]) {
    assert_eq!(planned(&function(&SMALL, body)), None, "{body:02x?}");
}

#[test]
fn stack_checks() {
    check(&function(&SMALL, &BODY), 4, &[8]);
    check(&function(&[&SHORT[..], &MIDDLE].concat(), &BODY), 9, &[13]);
    check(&function(&[&LONG[..], &MIDDLE].concat(), &BODY), 12, &[16]);
    // jbe with 32 bits, behind a long body.
    let body = [[0x90; 200].as_slice(), &BODY].concat();
    let mut code = [&SMALL[..], &[0x0f, 0x86, 203, 0, 0, 0], &body].concat();
    let back = i32::try_from(code.len() + 10).unwrap().wrapping_neg();
    code.extend([0xe8, 0, 0x10, 0, 0, 0xe9]);
    code.extend(back.to_le_bytes());
    check(&code, 4, &[212]);
}

#[test]
fn other_beginnings_are_refused() {
    // Another goroutine register, bound, or stack pointer; another branch; none; a larger frame.
    let others: [&[u8]; 6] = [
        &[0x49, 0x3b, 0x67, 0x10],
        &[0x49, 0x3b, 0x66, 0x18],
        &[0x49, 0x39, 0x66, 0x10],
        &[0x4c, 0x8d, 0x64, 0x24, 0xf8, 0x49, 0x3b, 0x66, 0x10],
        // lea r12, [rsp+8]
        &[0x4c, 0x8d, 0x64, 0x24, 8, 0x4d, 0x3b, 0x66, 0x10],
        &[0xf3, 0x0f, 0x1e, 0xfa, 0x49, 0x3b, 0x66, 0x10],
    ];
    for other in others {
        assert_eq!(planned(&function(other, &BODY)), None, "{other:02x?}");
    }
    let mut code = function(&SMALL, &BODY);
    code[4] = 0x72;
    assert_eq!(planned(&code), None);
    for len in 0..code.len() {
        assert_eq!(planned(&function(&SMALL, &BODY)[..len]), None, "{len} bytes");
    }
}

#[test]
fn every_return_is_an_exit() {
    // je over; ret; over: push rbp; pop rbp; ret
    check(&function(&SMALL, &[0x74, 1, 0xc3, 0x55, 0x5d, 0xc3]), 4, &[8, 11]);
    // ret; call; add rsp, 8; ret: what deferred calls end with.
    let deferred = [0xc3, 0xe8, 0, 0x20, 0, 0, 0x48, 0x83, 0xc4, 8, 0xc3];
    check(&function(&SMALL, &deferred), 4, &[6, 16]);
    // ret; call; nop: a panic, before what grows the stack.
    check(&function(&SMALL, &[0xc3, 0xe8, 0, 0x20, 0, 0, 0x90]), 4, &[6]);
    // A loop: dec eax; jne; ret. It never returns: jmp to itself. ud2.
    check(&function(&SMALL, &[0xff, 0xc8, 0x75, 0xfc, 0xc3]), 4, &[10]);
    check(&function(&SMALL, &[0xeb, 0xfe]), 4, &[]);
    check(&function(&SMALL, &[0x0f, 0x0b]), 4, &[]);
    // Padding behind the function: int3.
    let mut padded = function(&SMALL, &BODY);
    padded.extend([0xcc; 7]);
    check(&padded, 4, &[8]);
}

#[test]
fn other_ways_out_are_refused() {
    // jmp to another function, je to another, jmp rax, jmp [rip], jmp [rax+rcx*8]
    let others: [&[u8]; 5] = [
        &[0xe9, 0, 0x20, 0, 0],
        &[0x0f, 0x84, 0, 0x20, 0, 0, 0xc3],
        &[0xff, 0xe0],
        &[0xff, 0x25, 0, 0, 0, 0],
        &[0xff, 0x24, 0xc8],
    ];
    for other in others {
        refused(other);
    }
    // ret 8; repz ret; far ret; iretq
    for other in [&[0xc2, 8, 0][..], &[0xf3, 0xc3], &[0xcb], &[0x48, 0xcf]] {
        refused(other);
    }
    // Nothing at the end; what is no instruction.
    let code = function(&SMALL, &BODY);
    assert_eq!(planned(&[&code[..], &[0x90]].concat()), None);
    refused(&[0x06, 0xc3]);
}

#[test]
fn branches_lead_to_instructions() {
    // jmp into mov eax, 0xc3c3c3c3
    refused(&[0xeb, 1, 0xb8, 0xc3, 0xc3, 0xc3, 0xc3, 0xc3]);
    // jmp to the stack check's branch, into it, to the first instruction; call into the function
    refused(&[0xeb, 0xfc]);
    refused(&[0xeb, 0xfd]);
    refused(&[0xeb, 0xf8]);
    refused(&[0xe8, 0, 0, 0, 0, 0xc3]);
    // Itself, again: call to the first instruction.
    check(&function(&SMALL, &[0xe8, 0xf5, 0xff, 0xff, 0xff, 0xc3]), 4, &[11]);
}

#[test]
fn the_stack_grows_as_go_does() {
    let growths: [&[u8]; 5] = [
        // No call; two; by pointer; a way that goes on; a jump elsewhere.
        &[0xeb, 0xf5],
        &[0xe8, 0, 0x10, 0, 0, 0xe8, 0, 0x10, 0, 0, 0xeb, 0xeb],
        &[0xff, 0xd0, 0xeb, 0xf3],
        &[0xe8, 0, 0x10, 0, 0, 0xc3],
        &[0xe8, 0, 0x10, 0, 0, 0xeb, 0xf6],
    ];
    for growth in growths {
        let code = [&SMALL[..], &[0x76, 3], &BODY, growth].concat();
        assert_eq!(planned(&code), None, "{growth:02x?}");
    }
    let code = [&SMALL[..], &[0x76, 3], &BODY, &[0xe8, 0, 0x10, 0, 0, 0xeb, 0xf0]].concat();
    check(&code, 4, &[8]);
}

#[test]
fn where_a_function_ends_must_be_known() {
    let code = function(&SMALL, &BODY);
    let size = |size| plan(&Bytes(&code), Extent { address: BASE, size });
    assert_eq!(size(0), None);
    assert_eq!(size(u64::MAX), None);
    assert_eq!(size(1 << 20), None);
    assert_eq!(plan(&Bytes(&code), Extent { address: u64::MAX, size: 8 }), None);
}

/// Real programs, made once for all tests.
fn programs() -> &'static [PathBuf] {
    static PROGRAMS: OnceLock<Vec<PathBuf>> = OnceLock::new();
    PROGRAMS.get_or_init(|| tlstap_tests::go::programs().unwrap())
}

/// The functions of a program, by address.
fn functions<'d>(elf: &Elf<'d>) -> BTreeMap<u64, (u64, &'d [u8])> {
    elf.functions()
        .filter(|symbol| elf.is_text(symbol.address))
        .map(|symbol| (symbol.address, (symbol.size, symbol.name)))
        .collect()
}
