//! The stack check that functions of Go begin with: whether the stack pointer, less the function's
//! frame, is above the goroutine's bound (`g.stackguard0`, at 16).
//!
//! As src/cmd/internal/obj/x86/obj6.go, `stacksplit`, writes it for small and middle frames (Go 1.17
//! to 1.27). Frames of more than 4 KiB, and functions without a check, are not planned for.

use std::ops::Range;

use crate::resolve::sites::emulation;

/// `cmp rsp, [r14+16]`
const SMALL: [u8; 4] = [0x49, 0x3b, 0x66, 0x10];

/// `lea r12, [rsp-x]`, with 8 and 32 bits, and `cmp r12, [r14+16]`
const SHORT: [u8; 4] = [0x4c, 0x8d, 0x64, 0x24];
const LONG: [u8; 4] = [0x4c, 0x8d, 0xa4, 0x24];
const MIDDLE: [u8; 4] = [0x4d, 0x3b, 0x66, 0x10];

/// The sign of the number that the frame is taken away with.
const NEGATIVE: u8 = 0x80;

/// The bytes of the branch behind the check, taken when there is too little stack.
pub(super) fn branch(code: &[u8]) -> Option<Range<u64>> {
    let start = compared(code)?;
    // jbe, with 8 and 32 bits
    let len = match code.get(start..)? {
        [0x76, ..] => 2,
        [0x0f, 0x86, ..] => 6,
        _ => return None,
    };
    let end = start.checked_add(len)?;
    let emulated = emulation::emulates(code.get(start..end)?);
    emulated.then_some(u64::try_from(start).ok()?..u64::try_from(end).ok()?)
}

/// How many bytes the comparison takes.
fn compared(code: &[u8]) -> Option<usize> {
    if code.starts_with(&SMALL) {
        return Some(SMALL.len());
    }
    let (_, rest) = code.split_at_checked(SHORT.len())?;
    let distance = match code {
        _ if code.starts_with(&SHORT) => rest.get(..1)?,
        _ if code.starts_with(&LONG) => rest.get(..4)?,
        _ => return None,
    };
    let below = distance.last().is_some_and(|high| high & NEGATIVE != 0);
    let start = SHORT.len() + distance.len();
    let compares = code.get(start..)?.starts_with(&MIDDLE);
    (below && compares).then_some(start + MIDDLE.len())
}
