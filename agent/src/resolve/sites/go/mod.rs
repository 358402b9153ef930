//! Where functions of Go are probed, on x86-64: at the branch behind the stack check, and at every
//! return.
//!
//! Comes in: the code of a function, whole. Goes out: a [`Plan`], or nothing where a byte is other
//! than expected: a probe in the wrong place would corrupt the program.
//!
//! No uretprobe goes on them: Go copies stacks while functions run (runtime/stack.go, `copystack`)
//! and finds the kernel's trampoline where it looks for a return address.
//!
//! The register ABI is that of Go 1.17 and later (src/cmd/compile/abi-internal.md): integer arguments
//! and results in `RAX`, `RBX`, `RCX`, `RDI`, `RSI`, `R8` to `R11`, the closure in `RDX`, the
//! goroutine in `R14`. Functions of older versions, and those in assembly, find the goroutine
//! in other ways and are not recognised.

mod body;
mod check;

use super::{Architecture, Class, Code, Extent, Site};

/// Most bytes of a function that is gone through.
const MOST: u64 = 1 << 16;

/// The sites of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The branch behind the stack check. All registers are as they were at the call, but `R12` and
    /// the flags, and the stack pointer is at the return address.
    ///
    /// **A call may come here twice**: when the stack is too small it is copied to a larger one, and
    /// the function begins again, with the same arguments and another stack pointer. The distance
    /// from the end of the goroutine's stack stays.
    pub(crate) entry: Site,
    /// Every `ret`, in order: results are in place, and the stack pointer is at the return address.
    /// Always stepped: the kernel emulates none.
    ///
    /// A call that returns comes to exactly one of them. One that panics comes to one only if the
    /// function itself recovers, and one that ends its goroutine (`runtime.Goexit`) to none.
    pub(crate) exits: Vec<Site>,
}

/// The sites of a function whose extent is known, if all that it does at its ends is.
pub(crate) fn plan(code: &impl Code, function: Extent) -> Option<Plan> {
    if code.architecture() != Architecture::X86_64 || !(1..=MOST).contains(&function.size) {
        return None;
    }
    let end = function.address.checked_add(function.size)?;
    let inside = function.address.checked_add(1)?..end;
    let bytes = code.bytes(function.address, function.size)?;
    if u64::try_from(bytes.len()).ok()? != function.size || code.begins_in(&inside) {
        return None;
    }
    let branch = check::branch(bytes)?;
    let exits = body::exits(bytes, function.address, &branch)?;
    let stepped = |offset| Site { offset, class: Class::Stepped };
    Some(Plan {
        entry: Site { offset: branch.start, class: Class::Emulated },
        exits: exits.into_iter().map(stepped).collect(),
    })
}
