//! What is decided about processes, told to the kernel half before it copies anything.

use aya::maps::{HashMap, MapData, MapError};
use tlstap_ebpf::{COMM_LEN, verdict};

/// A decision about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its plaintext is copied.
    Trace,
    /// Its calls are left alone.
    Ignore,
    /// Only the calls of threads whose name is wanted are copied.
    ByThread,
}

/// The kernel half's table of decisions. A process that is not in it is traced.
pub struct Verdicts {
    processes: HashMap<MapData, u32, u8>,
    threads: HashMap<MapData, [u8; COMM_LEN], u8>,
}

impl Verdicts {
    pub(super) const fn new(
        processes: HashMap<MapData, u32, u8>,
        threads: HashMap<MapData, [u8; COMM_LEN], u8>,
    ) -> Self {
        Self { processes, threads }
    }

    /// Adds a thread name that is wanted. The kernel cuts names at 15 bytes.
    pub fn want_thread(&mut self, name: &str) -> Result<(), MapError> {
        let mut key = [0; COMM_LEN];
        let shown = name.as_bytes().iter().take(COMM_LEN - 1);
        key.iter_mut().zip(shown).for_each(|(to, from)| *to = *from);
        self.threads.insert(key, 1, 0)
    }

    /// Decides about a process. The kernel half forgets it at exec and at exit.
    pub fn set(&mut self, pid: u32, verdict: Verdict) -> Result<(), MapError> {
        let code = match verdict {
            Verdict::Trace => verdict::TRACE,
            Verdict::Ignore => verdict::IGNORE,
            Verdict::ByThread => verdict::BY_THREAD,
        };
        self.processes.insert(pid, code, 0)
    }

    /// Takes a decision back.
    pub fn clear(&mut self, pid: u32) {
        // It may never have been there.
        let _ = self.processes.remove(&pid);
    }
}
