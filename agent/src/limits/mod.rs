//! What the agent may take of the node, and what it does when it takes more.
//!
//! Comes in: once a second, how much processor time and memory the agent took ([`Usage`]). Goes out:
//! [`Step`]s between levels, which the pipeline carries out. It reads no clock, no file and no map
//! itself, except `usage`, and knows nothing of what a level costs.
//!
//! The levels, each leaving out what the one before does, and more:
//!
//! | level | what is copied | how what is missing is told |
//! |---|---|---|
//! | `full` | everything | |
//! | `headers` | the first [`HEAD_BYTES`] of each call | gaps, `reduced` |
//! | `sampled` | that of one process in four, always the same ones | gaps, `sampled` |
//! | `detached` | nothing: the probes are taken off, and traced processes pay nothing | connections end, behind a gap of unknown length, `detached`; what is said on them later is another connection's |
//!
//! A step **up** is taken when the mean of 2 seconds is above a limit. A step **down** is taken when usage
//! was well below the limits for a time, the *hold*. How much the level below would take is not known, so
//! that a step down is a trial. A step up within 10 minutes of a step down is a relapse: it doubles the
//! hold, from 5 seconds to 5 minutes at most. Only 10 minutes at `full` make it short again. So constant
//! overload causes some forty steps in its first hour, and two dozen in each that follows. While
//! detached, the usage says nothing of what tracing would take: after the hold it is tried, unless
//! memory is still above its limit.

mod ladder;
mod memory;
mod state;
pub(crate) mod usage;

use std::fmt;

use serde::Serialize;
use tlstap_ebpf::HEAD_BYTES;

pub use self::{
    ladder::Ladder,
    memory::{Memory, TooSmall},
    state::Reached,
    usage::Usage,
};

/// What the agent may take.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Limits {
    /// Processors: 0.5 is half of the time of one.
    pub cpu: Option<f64>,
    /// Bytes of resident memory.
    pub memory: Option<u64>,
}

/// How much is traced; see the module. In the order in which they leave out more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everything.
    Full,
    /// The beginning of each call.
    Headers,
    /// That of some processes.
    Sampled,
    /// Nothing.
    Detached,
}

/// Why a step was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// More processor time was taken than the limit.
    Cpu,
    /// More memory was.
    Memory,
    /// Usage was well below the limits.
    Calm,
    /// Nothing is known of what tracing would take now: it is tried.
    Trial,
}

/// From one level to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The level until now.
    pub from: Level,
    /// The level from now on.
    pub to: Level,
    /// Why.
    pub cause: Cause,
    /// What the agent took.
    pub usage: Usage,
    /// What it may take.
    pub limits: Limits,
}

impl Level {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Full, Self::Headers, Self::Sampled, Self::Detached];

    /// The fixed word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Headers => "headers",
            Self::Sampled => "sampled",
            Self::Detached => "detached",
        }
    }

    const fn up(self) -> Self {
        match self {
            Self::Full => Self::Headers,
            Self::Headers => Self::Sampled,
            Self::Sampled | Self::Detached => Self::Detached,
        }
    }

    const fn down(self) -> Self {
        match self {
            Self::Full | Self::Headers => Self::Full,
            Self::Sampled => Self::Headers,
            Self::Detached => Self::Sampled,
        }
    }
}

impl Cause {
    /// The fixed word for output.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Calm => "calm",
            Self::Trial => "trial",
        }
    }
}

impl fmt::Display for Step {
    /// `headers: only the first 1024 B of each call are copied (cpu: 1.32 of 0.50 processors, …)`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.to.as_str())?;
        match self.to {
            Level::Full => write!(f, "everything is copied again")?,
            Level::Headers => write!(f, "only the first {HEAD_BYTES} B of each call are copied")?,
            Level::Sampled if self.from == Level::Detached => {
                write!(f, "probes are put on again, one process in four is copied")?;
            }
            Level::Sampled => write!(f, "only one process in four is copied")?,
            Level::Detached => write!(f, "all probes are taken off")?,
        }
        let Usage { cpu, memory } = self.usage;
        write!(f, " ({}: {cpu:.2}", self.cause.as_str())?;
        if let Some(limit) = self.limits.cpu {
            write!(f, " of {limit:.2}")?;
        }
        write!(f, " processors, {}", mebibytes(memory))?;
        if let Some(limit) = self.limits.memory {
            write!(f, " of {}", mebibytes(limit))?;
        }
        write!(f, " MiB)")
    }
}

const fn mebibytes(bytes: u64) -> u64 {
    bytes >> 20
}

#[cfg(test)]
mod tests;
