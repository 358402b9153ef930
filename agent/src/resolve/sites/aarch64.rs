//! AArch64: which instructions the kernel simulates when they are probed, and where that leaves a
//! function's site.
//!
//! From arch/arm64/kernel/probes/decode-insn.c, `arm_probe_decode_insn`, with the encodings of
//! arch/arm64/include/asm/insn.h (Linux 4.10 to 6.18). Only what all of them simulate counts:
//!
//! - `nop` is simulated since 6.13, and stepped before.
//! - Loads of a literal were simulated, in a wrong way, until 6.12 took that back (and stable kernels
//!   with it): now the probe is refused.
//! - Branches with authentication (`braa`, `retaa`) are refused, `bc.cond` is not known.
//! - `bti` and `paciasp` are stepped.
//!
//! The return address is in `x30`. A uretprobe replaces it there, and so must come before the
//! function signs or saves it (`arch_uretprobe_hijack_return_addr`, arch/arm64/kernel/probes/uprobes.c):
//! what is authenticated at the end would be another address.

use super::{Code, Extent, Needs};

/// Bytes of an instruction.
const WORD: u64 = 4;

/// Most bytes of a function that are looked through for what leads back.
const MOST: u64 = 1 << 16;

/// Bits of an instruction that are looked at, and how they must be.
type Pattern = (u32, u32);

const B: Pattern = (0xfc00_0000, 0x1400_0000);
const BL: Pattern = (0xfc00_0000, 0x9400_0000);
const B_COND: Pattern = (0xff00_0010, 0x5400_0000);
/// The branch to be consistent under FEAT_HBC: it leads on as the other does.
const BC_COND: Pattern = (0xff00_0010, 0x5400_0010);
/// `cbz`, `cbnz`.
const CB: Pattern = (0x7e00_0000, 0x3400_0000);
/// `tbz`, `tbnz`.
const TB: Pattern = (0x7e00_0000, 0x3600_0000);
/// `adr`, `adrp`.
const ADR: Pattern = (0x1f00_0000, 0x1000_0000);
const BR: Pattern = (0xffff_fc1f, 0xd61f_0000);
const BLR: Pattern = (0xffff_fc1f, 0xd63f_0000);
const RET: Pattern = (0xffff_fc1f, 0xd65f_0000);
/// `braa`, `braaz`, `brab`, `brabz`.
const BRA: Pattern = (0xfeff_f800, 0xd61f_0800);

const SIMULATED: [Pattern; 9] = [B, BL, B_COND, CB, TB, ADR, BR, BLR, RET];

/// `nop`; `bti` with each of its kinds of branches: they change nothing.
const IDLE: [u32; 5] = [0xd503_201f, 0xd503_241f, 0xd503_245f, 0xd503_249f, 0xd503_24df];

/// `paciasp`, `pacibsp`: they change `x30`.
const SIGN: [u32; 2] = [0xd503_233f, 0xd503_237f];

const fn is(word: u32, (mask, value): Pattern) -> bool {
    word & mask == value
}

/// Whether the kernel simulates an instruction.
pub(super) fn simulates(word: u32) -> bool {
    SIMULATED.into_iter().any(|pattern| is(word, pattern))
}

/// Bytes from the function's first instruction to the first that is simulated, if only what changes
/// nothing that is needed stands between, and nothing else leads there.
pub(super) fn cheap(code: &impl Code, function: Extent, needs: Needs) -> Option<u64> {
    let size = if function.size == 0 { MOST } else { function.size };
    let words = words(code.bytes(function.address, size.min(MOST))?);
    let passed = |word: &u32| IDLE.contains(word) || !needs.stack && SIGN.contains(word);
    let count = words.iter().take_while(|word| passed(word)).count();
    let offset = u64::try_from(count).ok()?.checked_mul(WORD)?;
    if !simulates(*words.get(count)?) {
        return None;
    }
    (offset == 0 || only_from_the_start(code, function, offset, &words)).then_some(offset)
}

/// The instructions that these bytes are; code is little-endian whatever data is.
fn words(bytes: &[u8]) -> Vec<u32> {
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| u32::from_le_bytes(*word)).collect()
}

/// Whether the instructions behind the first, up to this one, are reached only from there: no branch
/// of the function leads to them, and none leads to where that is not known.
fn only_from_the_start(code: &impl Code, function: Extent, site: u64, words: &[u32]) -> bool {
    let whole = u64::try_from(words.len()).is_ok_and(|count| count * WORD == function.size);
    let end = function.address.checked_add(function.size);
    let line = function.address.checked_add(site).map(|last| function.address + 1..last + WORD);
    let Some((end, line)) = end.zip(line).filter(|_| whole) else { return false };
    let known = |target: u64| {
        (function.address..end).contains(&target) || code.begins_in(&(target..target + 1))
    };
    let places = (function.address..end).step_by(4);
    !code.begins_in(&line)
        && words.iter().zip(places).all(|(&word, address)| {
            !is(word, BR)
                && !is(word, BRA)
                && target(word, address)
                    .is_none_or(|target| !line.contains(&target) && (is(word, BL) || known(target)))
        })
}

/// Where a direct branch leads.
fn target(word: u32, address: u64) -> Option<u64> {
    let distance = if is(word, B) || is(word, BL) {
        signed(word, 0, 26)
    } else if is(word, B_COND) || is(word, BC_COND) || is(word, CB) {
        signed(word, 5, 19)
    } else if is(word, TB) {
        signed(word, 5, 14)
    } else {
        return None;
    };
    Some(address.wrapping_add_signed(distance * 4))
}

/// The signed number in so many bits of an instruction.
const fn signed(word: u32, from: u32, bits: u32) -> i64 {
    let high = word << (u32::BITS - from - bits);
    (high.cast_signed() >> (u32::BITS - bits)) as i64
}
