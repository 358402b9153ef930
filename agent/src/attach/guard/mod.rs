//! What stands between a plan and a probe: nothing is attached that this refuses.
//!
//! Comes in: an open file, and the probes that were planned for it. Goes out: leave, or the reason why
//! not. It knows what this kernel does to processes under a seccomp filter, by having tried it (`trial`),
//! and looks at the file once more: a container may have written to it since it was read.

mod trial;

use thiserror::Error;

pub use trial::Outcome;
use trial::Place;

use crate::resolve::{self, Found, Probe, RealFile, Reason, Stamp};

/// Whether functions are probed at their return, which some kernels punish (see [`Outcome::Killed`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ReturnProbes {
    /// Where a process of the agent's own survives it
    Tried,
    /// Whatever the kernel does
    Allowed,
    /// Nowhere: what cannot do without is not probed
    Refused,
}

/// Why a file may not be probed.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The kernel would do harm.
    #[error("on this kernel {0} kill processes under a seccomp filter")]
    Kernel(&'static str),
    /// Nobody knows what the probe would do.
    #[error("the instruction at {0:#x} in the file is not the one that was planned for")]
    Instruction(u64),
    /// The plan is of another file.
    #[error("the file was written to since it was read")]
    Changed,
}

impl Refusal {
    /// What is told of the file.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Kernel(_) => Reason::UnsafeKernel,
            Self::Instruction(_) => Reason::Unsafe,
            Self::Changed => Reason::Changed,
        }
    }
}

/// What may be probed on this kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// What comes of a probe at the return of a function.
    pub returns: Outcome,
    /// What comes of a probe on an instruction that the kernel replaces by a call of its own.
    pub replaced: Outcome,
}

impl Guard {
    /// Tries what this kernel does, in processes of the agent's own.
    pub fn new(returns: ReturnProbes) -> Self {
        let returns = match returns {
            ReturnProbes::Tried => trial::run(Place::Return),
            ReturnProbes::Allowed => Outcome::Assumed,
            ReturnProbes::Refused => Outcome::Killed,
        };
        Self { returns, replaced: trial::run(Place::Nop) }
    }

    /// Whether these probes may be put on this file.
    pub fn permit(&self, real: &RealFile, probes: &[Probe]) -> Result<(), Refusal> {
        if self.returns.is_unsafe() && probes.iter().any(|probe| probe.function.is_returned_from())
        {
            return Err(Refusal::Kernel("probes at the return of functions"));
        }
        for probe in probes {
            match resolve::look(&real.file, probe) {
                Found::Planned => {}
                Found::Replaceable if self.replaced.is_unsafe() => {
                    return Err(Refusal::Kernel("probes on such an instruction"));
                }
                Found::Replaceable => {}
                Found::Other => {
                    Self::unchanged(real)?;
                    return Err(Refusal::Instruction(probe.site_offset()));
                }
            }
        }
        Self::unchanged(real)
    }

    /// Whether the file is as it was when it was opened, before it was read.
    pub(super) fn unchanged(real: &RealFile) -> Result<(), Refusal> {
        let now = real.file.metadata().map(|meta| Stamp::of(&meta));
        if now.is_ok_and(|now| now == real.stamp) { Ok(()) } else { Err(Refusal::Changed) }
    }
}

#[cfg(test)]
mod tests;
