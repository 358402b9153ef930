//! Decides about each process as it starts, changes its name or gets a container's name, so that
//! the kernel half copies nothing of those that are not wanted.
//!
//! What cannot be decided yet is traced, and filtered behind the decoders.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    attach::{Verdict, Verdicts},
    enrich::Names,
    select::Filters,
};

/// The decisions of a trace with filters.
pub(super) struct Selection {
    filters: Filters,
    verdicts: Verdicts,
    /// Processes whose container has no name yet.
    undecided: HashSet<u32>,
    matched: Arc<AtomicBool>,
}

impl Selection {
    /// `None` without filters: then there is nothing to decide.
    pub(super) fn new(filters: Filters, mut verdicts: Verdicts) -> Option<Self> {
        if filters.is_empty() {
            return None;
        }
        for name in &filters.commands {
            if let Err(error) = verdicts.want_thread(name) {
                tracing::warn!(%error, "thread name not told to the kernel half");
            }
        }
        Some(Self { filters, verdicts, undecided: HashSet::new(), matched: Arc::default() })
    }

    /// Becomes true when a process is wanted.
    pub(super) fn matched(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.matched)
    }

    /// Decides about a process with what is known now.
    pub(super) fn decide(&mut self, pid: u32, names: &Names) {
        let (process, container, pending) = names.process_and_container(pid);
        if pending && self.filters.need_names() {
            self.undecided.insert(pid);
            self.verdicts.clear(pid);
            return;
        }
        self.undecided.remove(&pid);
        let verdict = self.filters.verdict(&process, container.as_deref());
        if verdict == Verdict::Trace {
            self.matched.store(true, Ordering::Relaxed);
        }
        if let Err(error) = self.verdicts.set(pid, verdict) {
            tracing::debug!(pid, %error, "process is filtered behind the decoders only");
        }
    }

    /// Looks again at the processes that were not decided.
    pub(super) fn retry(&mut self, names: &Names) {
        for pid in std::mem::take(&mut self.undecided) {
            self.decide(pid, names);
        }
    }

    /// Whether a process waits for a decision.
    pub(super) fn waits(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// Forgets a process.
    pub(super) fn forget(&mut self, pid: u32) {
        self.undecided.remove(&pid);
        // The kernel half has done so at its exit, but a decision may have come after that.
        self.verdicts.clear(pid);
    }
}
