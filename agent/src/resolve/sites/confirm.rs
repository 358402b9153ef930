//! Whether an instruction that was planned is still at its place: looked at once more in the file, just
//! before the probe goes there.

use std::{fs::File, os::unix::fs::FileExt as _};

use iced_x86::{Decoder, DecoderOptions};
use object::elf::{EM_AARCH64, EM_X86_64, Machine};

use super::{Class, aarch64, emulation};
use crate::resolve::Probe;

/// Bytes of the longest instruction.
const LONGEST: usize = 15;

/// What the kernel writes to where it jumps from in a mapping: the `nop` of five bytes, since Linux 6.18
/// (`can_optimize`, arch/x86/kernel/uprobes.c).
const REPLACED: [u8; 5] = [0x0f, 0x1f, 0x44, 0x00, 0x00];

/// What is at the place of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// An instruction of the kind that was planned.
    Planned,
    /// One of that kind, which the kernel may replace by a call of its own.
    Replaceable,
    /// Another, or none.
    Other,
}

/// Looks at the instruction that a probe goes to.
pub fn look(file: &File, probe: &Probe) -> Found {
    let mut machine = [0; 2];
    // `e_machine` of `Elf64_Ehdr`.
    if file.read_exact_at(&mut machine, 18).is_err() {
        return Found::Other;
    }
    let mut bytes = [0; LONGEST];
    let length = file.read_at(&mut bytes, probe.site_offset()).unwrap_or_default();
    let bytes = bytes.get(..length).unwrap_or_default();
    match Machine(u16::from_le_bytes(machine)) {
        EM_X86_64 => x86_64(bytes, probe.site.class),
        EM_AARCH64 => arm(bytes, probe.site_offset(), probe.site.class),
        _ => Found::Other,
    }
}

fn x86_64(bytes: &[u8], class: Class) -> Found {
    if bytes.starts_with(&REPLACED) {
        return Found::Replaceable;
    }
    let instruction = Decoder::new(64, bytes, DecoderOptions::NONE).decode();
    let code = bytes.get(..instruction.len()).unwrap_or_default();
    let other = instruction.is_invalid()
        || class == Class::Emulated && !emulation::emulates(code)
        // A breakpoint of somebody else; none is in a file by itself.
        || code == [0xcc];
    if other { Found::Other } else { Found::Planned }
}

fn arm(bytes: &[u8], offset: u64, class: Class) -> Found {
    let Some(word) = bytes.first_chunk().copied().map(u32::from_le_bytes) else {
        return Found::Other;
    };
    let other = !offset.is_multiple_of(4) || class == Class::Emulated && !aarch64::simulates(word);
    if other { Found::Other } else { Found::Planned }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_planned_and_what_was_not() {
        let check = |bytes: &[u8], class, expect| assert_eq!(x86_64(bytes, class), expect);
        check(&[0x55, 0x90], Class::Emulated, Found::Planned);
        check(&[0x48, 0x83, 0xec, 0x18], Class::Stepped, Found::Planned);
        check(&[0x48, 0x83, 0xec, 0x18], Class::Emulated, Found::Other);
        check(&[0x06], Class::Stepped, Found::Other);
        check(&[0xcc], Class::Stepped, Found::Other);
        check(&[0xe8, 0x00], Class::Emulated, Found::Other);
        check(&[], Class::Stepped, Found::Other);
        check(&REPLACED, Class::Stepped, Found::Replaceable);
        let branch = 0x1400_0001_u32.to_le_bytes();
        assert_eq!(arm(&branch, 8, Class::Emulated), Found::Planned);
        assert_eq!(arm(&branch, 6, Class::Emulated), Found::Other);
        assert_eq!(arm(&[0; 4], 8, Class::Emulated), Found::Other);
        assert_eq!(arm(&[0; 3], 8, Class::Stepped), Found::Other);
    }
}
