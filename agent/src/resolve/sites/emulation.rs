//! Which instructions the kernel emulates when they are probed, on x86-64.
//!
//! From arch/x86/kernel/uprobes.c, `branch_setup_xol_ops` (Linux 3.16 to 6.18) and
//! `push_setup_xol_ops` (Linux 4.16 to 6.18). Only what all of them emulate counts:
//!
//! - A branch with any prefix is left out: `0x66` makes the kernel refuse the probe (`-ENOTSUPP`),
//!   so do `cs` and `ds`, which are the old hints and `notrack` (`is_prefix_bad`).
//! - Of pushes those of a whole register: at most two bytes, with no prefix but `0x41`, which is
//!   that of `r8` to `r15`.
//! - Of instructions that do nothing the one of a single byte: the others are emulated since 6.18
//!   (`insn_is_nop`).
//! - `loop` and `jrcxz` are not (`is_cond_jmp_opcode`), nor are indirect branches, nor returns.

/// Whether the kernel emulates the instruction that these bytes, all of them, are.
pub(super) const fn emulates(instruction: &[u8]) -> bool {
    match instruction {
        // push, nop, push of r8 to r15
        [0x50..=0x57 | 0x90] | [0x41, 0x50..=0x57] => true,
        // call, jmp with 32 bits
        [0xe8 | 0xe9, _, _, _, _] => true,
        // jmp, jcc with 8 bits
        [0xeb | 0x70..=0x7f, _] => true,
        // jcc with 32 bits
        [0x0f, 0x80..=0x8f, _, _, _, _] => true,
        _ => false,
    }
}
