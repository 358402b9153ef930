//! What the agent takes itself.

use std::time::{Duration, Instant};

use procfs::process::Process;
use rustix::time::{ClockId, clock_gettime};

/// What the agent took in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Processors: its processor time, in user space and in the kernel, by the time that passed. What
    /// its probes take is spent, and counted, in the traced processes.
    pub cpu: f64,
    /// Resident memory in bytes; a ring buffer counts twice, as far as it was used.
    pub memory: u64,
}

/// Measures from one look to the next.
#[derive(Debug)]
pub(crate) struct Gauge {
    looked: Instant,
    time: Duration,
}

impl Gauge {
    /// From now on.
    pub(crate) fn start() -> Self {
        Self { looked: Instant::now(), time: processor_time() }
    }

    /// What was taken since the last look.
    pub(crate) fn look(&mut self) -> Usage {
        let before = std::mem::replace(self, Self::start());
        let passed = self.looked.duration_since(before.looked).as_secs_f64();
        let taken = self.time.saturating_sub(before.time).as_secs_f64();
        let cpu = if passed > 0.0 { taken / passed } else { 0.0 };
        Usage { cpu, memory: resident() }
    }
}

/// Processor time of all threads so far.
pub(crate) fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Bytes of resident memory; 0 where /proc cannot be read.
fn resident() -> u64 {
    let statm = Process::myself().and_then(|process| process.statm());
    statm.map_or(0, |statm| statm.resident.saturating_mul(procfs::page_size()))
}

/// Gives memory back that was freed and is kept for later, as far as the allocator can.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks, and moves nothing (malloc_trim(3)).
    unsafe {
        libc::malloc_trim(0);
    }
}
