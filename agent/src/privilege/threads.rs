//! What each thread keeps of the agent's privileges once it is set up.
//!
//! Capabilities belong to threads, and so do filters of system calls: what parses bytes that
//! somebody else has made keeps next to nothing, what probes keeps what probing needs.

use rustix::{
    io,
    thread::{
        CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set,
        set_capabilities, set_no_new_privs,
    },
};

use super::filter;

/// A part of the agent, with threads of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Resolves libraries and attaches probes, for as long as the trace goes on; `list`, which tries one.
    Hooks {
        /// Whether probes are held by perf events.
        perf: bool,
    },
    /// The tasks that learn names, follow events, and tell the kernel half what is decided.
    Tasks,
    /// Reads what /proc says of processes.
    Processes,
    /// The reader of the ring, and what waits for the end of the trace: they read maps.
    Maps,
    /// Neither the kernel half nor other processes: `replay`, and what closes descriptors.
    Nothing,
}

impl Part {
    const fn needs(self) -> CapabilitySet {
        // Maps need CAP_BPF before Linux 5.19, where bpf(2) is closed to the unprivileged.
        const MAPS: CapabilitySet = CapabilitySet::BPF;
        const PROCESSES: CapabilitySet =
            CapabilitySet::SYS_PTRACE.union(CapabilitySet::DAC_READ_SEARCH);
        const FILES: CapabilitySet = PROCESSES.union(CapabilitySet::CHECKPOINT_RESTORE);
        const HOOKS: CapabilitySet = FILES.union(MAPS).union(CapabilitySet::PERFMON);
        match self {
            Self::Hooks { perf: false } => HOOKS,
            Self::Hooks { perf: true } => HOOKS.union(CapabilitySet::SYS_ADMIN),
            Self::Processes => PROCESSES,
            // The sockets of users' own runtimes can be written to by them alone.
            Self::Tasks => PROCESSES.union(MAPS).union(CapabilitySet::DAC_OVERRIDE),
            Self::Maps => MAPS,
            Self::Nothing => CapabilitySet::empty(),
        }
    }
}

/// No thread of the agent starts a program or touches another process from now on. Call it before
/// there are threads.
pub fn renounce() {
    let renounced = set_no_new_privs(true)
        .map_err(|error| error.to_string())
        .and_then(|()| filter::harmless().map_err(|error| error.to_string()));
    if let Err(error) = renounced {
        tracing::warn!(%error, "system calls are not filtered");
    }
}

/// Of what the calling thread has, only what this part needs stays.
pub fn keep(part: Part) {
    if let Err(error) = reduce(part.needs()) {
        tracing::warn!(%error, ?part, "privileges are kept");
    }
}

/// For a thread that decodes: beside computing, it can write into what is open.
pub fn confine() {
    keep(Part::Maps);
    if let Err(error) = filter::decoding() {
        tracing::warn!(%error, "system calls of the decoders are not filtered");
    }
}

fn reduce(needs: CapabilitySet) -> io::Result<()> {
    // Needs CAP_SETPCAP. Without it there is no way up either: nothing is executed any more.
    for capability in (0..64).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        if !needs.contains(capability) {
            let _ = remove_capability_from_bounding_set(capability);
        }
    }
    let CapabilitySets { permitted, .. } = capabilities(None)?;
    let kept = permitted.intersection(needs);
    // What is neither permitted nor inheritable is not ambient either (capabilities(7)).
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })
}
