//! Plans, by the bytes of functions, and by what functions really do.
#![cfg(target_arch = "x86_64")]

mod aarch64;
mod ends;
mod gate;
mod go;
mod lines;
mod machine;
mod property;
mod trace;

use std::ops::Range;

use super::{Architecture, Code, Extent, Needs};

/// Where the functions of tests lie.
const BASE: u64 = 0x1000;

/// Arguments and stack pointer.
const FOLLOWED: Needs = Needs { arguments: 5, stack: true, memory: true };
/// The arguments of calls that move bytes, and the stack pointer: what `gnutls_record_send` and
/// `PR_Write` take.
const DATA: Needs = Needs { arguments: 3, stack: true, memory: true };
/// Arguments and what they point to.
const ENTERED: Needs = Needs { arguments: 5, stack: false, memory: true };
/// The object only.
const OBJECT: Needs = Needs { arguments: 1, stack: false, memory: false };

/// Code in hand, at [`BASE`].
struct Bytes<'a>(&'a [u8]);

impl Code for Bytes<'_> {
    fn architecture(&self) -> Architecture {
        Architecture::X86_64
    }

    fn bytes(&self, address: u64, len: u64) -> Option<&[u8]> {
        let start = usize::try_from(address.checked_sub(BASE)?).ok()?;
        let rest = self.0.get(start..).filter(|rest| !rest.is_empty())?;
        rest.get(..rest.len().min(usize::try_from(len).ok()?))
    }

    fn begins_in(&self, _: &Range<u64>) -> bool {
        false
    }
}

fn extent(code: &[u8]) -> Extent {
    Extent { address: BASE, size: u64::try_from(code.len()).unwrap() }
}
