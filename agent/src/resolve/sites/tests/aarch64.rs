//! Plans for AArch64, by the words of functions.

use super::{
    super::{Class, Site, plan},
    *,
};

const NOP: u32 = 0xd503_201f;
const BTI_C: u32 = 0xd503_245f;
const BTI_J: u32 = 0xd503_249f;
const PACIASP: u32 = 0xd503_233f;
const PACIBSP: u32 = 0xd503_237f;
const RET: u32 = 0xd65f_03c0;
/// `stp x29, x30, [sp, #-32]!`
const SAVE: u32 = 0xa9be_7bfd;
/// `cbz x0, +8`
const CBZ: u32 = 0xb400_0040;

struct Words(Vec<u8>);

impl Code for Words {
    fn architecture(&self) -> Architecture {
        Architecture::Aarch64
    }

    fn bytes(&self, address: u64, len: u64) -> Option<&[u8]> {
        let start = usize::try_from(address.checked_sub(BASE)?).ok()?;
        let rest = self.0.get(start..)?;
        rest.get(..rest.len().min(usize::try_from(len).ok()?))
    }

    fn begins_in(&self, addresses: &Range<u64>) -> bool {
        // A function behind this one.
        addresses.contains(&(BASE + 0x1000))
    }
}

fn sites(words: &[u32], size: Option<u64>) -> [Site; 2] {
    let code = Words(words.iter().flat_map(|word| word.to_le_bytes()).collect());
    let size = size.unwrap_or(u64::try_from(code.0.len()).unwrap());
    [FOLLOWED, ENTERED].map(|needs| plan(&code, Extent { address: BASE, size }, needs))
}

const fn at(offset: u64) -> Site {
    Site { offset, class: Class::Emulated }
}

#[track_caller]
fn check(words: &[u32], followed: Site, entered: Site) {
    assert_eq!(sites(words, None), [followed, entered], "{words:08x?}");
}

#[track_caller]
fn first(word: u32, emulated: bool) {
    let site = if emulated { at(0) } else { Site::PLAIN };
    check(&[word, RET], site, site);
}

#[test]
fn what_the_kernel_simulates() {
    // b +8, b -4; bl +8; b.eq +8, b.le -4
    for word in [0x1400_0002, 0x17ff_ffff, 0x9400_0002, 0x5400_0040, 0x54ff_ffed] {
        first(word, true);
    }
    // cbz w0, cbnz x1; tbz w2, #31, tbnz x3, #63
    for word in [0x3400_0040, 0xb500_0041, 0x36f8_0042, 0xb7f8_0043] {
        first(word, true);
    }
    // adr x0, adrp x16; br x16; blr x1; ret, ret x1
    for word in [0x1000_0000, 0xb000_0010, 0xd61f_0200, 0xd63f_0020, RET, 0xd65f_0020] {
        first(word, true);
    }
}

#[test]
fn what_it_steps_or_refuses() {
    // nop, which older kernels step; bti c; paciasp; stp; sub sp, sp, #16; mov x19, x0
    for word in [NOP, BTI_C, PACIASP, SAVE, 0xd100_43ff, 0xaa00_03f3] {
        check(&[word, SAVE, RET], Site::PLAIN, Site::PLAIN);
    }
    // ldr x0, literal; ldrsw x0, literal; ldxr w0, [x0]; bc.eq; retaa; braa x0, x1; blraaz x0
    for word in
        [0x5800_0040, 0x9800_0040, 0x885f_7c00, 0x5400_0050, 0xd65f_0bff, 0xd71f_0801, 0xd63f_081f]
    {
        first(word, false);
    }
    // svc #0; brk #0; mrs x0, tpidr_el0; autiasp; nothing
    for word in [0xd400_0001, 0xd420_0000, 0xd53b_d040, 0xd503_23bf, 0] {
        first(word, false);
    }
    check(&[], Site::PLAIN, Site::PLAIN);
}

#[test]
fn landing_pads_are_passed_over() {
    check(&[BTI_C, CBZ, RET, RET], at(4), at(4));
    check(&[NOP, BTI_J, CBZ, RET, RET], at(8), at(8));
    check(&[BTI_C, SAVE, CBZ, RET, RET], Site::PLAIN, Site::PLAIN);
    check(&[BTI_C], Site::PLAIN, Site::PLAIN);
}

#[test]
fn a_signed_return_address_is_not_replaced() {
    check(&[PACIASP, CBZ, RET, RET], Site::PLAIN, at(4));
    check(&[PACIBSP, CBZ, RET, RET], Site::PLAIN, at(4));
    check(&[BTI_C, PACIASP, CBZ, RET, RET], Site::PLAIN, at(8));
}

#[test]
fn what_leads_back_is_seen() {
    // bti c; cbz, +8; then to the cbz: b -4, b.eq -4, cbnz -4, tbz -4, bl -4
    for back in [0x17ff_ffff, 0x54ff_ffe0, 0xb5ff_ffe0, 0x37ff_ffe0, 0x97ff_ffff] {
        check(&[BTI_C, CBZ, back, RET], Site::PLAIN, Site::PLAIN);
        // The same to the first instruction: another call.
        let distance = if back & 0x7c00_0000 == 0x1400_0000 { 1 } else { 1 << 5 };
        check(&[BTI_C, CBZ, back - distance, RET], at(4), at(4));
    }
    // br x16, braa x0, x1: anywhere.
    check(&[BTI_C, CBZ, 0xd61f_0200, RET], Site::PLAIN, Site::PLAIN);
    check(&[BTI_C, CBZ, 0xd71f_0801, RET], Site::PLAIN, Site::PLAIN);
    // Out of the function: b +0x100; to another's beginning: b +0xff8. bl goes anywhere.
    check(&[BTI_C, CBZ, 0x1400_0040, RET], Site::PLAIN, Site::PLAIN);
    check(&[BTI_C, CBZ, 0x1400_03fe, RET], at(4), at(4));
    check(&[BTI_C, CBZ, 0x9400_0040, RET], at(4), at(4));
    // Nobody knows where the function ends, the cbz leads out of it, or its end is not there.
    for size in [0, 12, 15, 20] {
        assert_eq!(sites(&[BTI_C, CBZ, RET, RET], Some(size)), [Site::PLAIN; 2], "{size}");
    }
}
