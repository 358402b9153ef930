//! The capabilities that the agent needs, and which of them it lacks; and what each of its threads
//! keeps of them (`threads.rs`) and may ask of the kernel at all (`filter.rs`).

mod filter;
mod threads;

use std::{fs, path::Path};

use procfs::process::Process;

pub use threads::{Part, confine, keep, renounce};

use crate::discover;

/// A capability, by its bit in `CapEff` (include/uapi/linux/capability.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capability {
    bit: u32,
    /// `CAP_BPF`, …
    pub name: &'static str,
    /// What it is for.
    pub purpose: &'static str,
}

const SYS_ADMIN: Capability = Capability {
    bit: 21,
    name: "CAP_SYS_ADMIN",
    purpose: "whatever the narrower capabilities do not cover",
};

/// What the agent needs, each replaced by `CAP_SYS_ADMIN` except `CAP_SYS_PTRACE`.
pub const NEEDED: [Capability; 5] = [
    Capability { bit: 39, name: "CAP_BPF", purpose: "loading BPF programs" },
    Capability { bit: 38, name: "CAP_PERFMON", purpose: "attaching probes, watching processes" },
    Capability { bit: 19, name: "CAP_SYS_PTRACE", purpose: "reading other processes' /proc" },
    Capability {
        bit: 40,
        name: "CAP_CHECKPOINT_RESTORE",
        purpose: "opening mapped files through /proc/PID/map_files",
    },
    Capability { bit: 2, name: "CAP_DAC_READ_SEARCH", purpose: "opening containers' files" },
];

/// The needed capabilities that this process lacks.
pub fn missing() -> Vec<Capability> {
    lacking(effective())
}

/// Whether this process may hold probes by perf events. `CAP_PERFMON` was enough for that from Linux
/// 5.8 to 6.15, and not any more in the stable kernels since July 2025 (CVE-2025-38466).
pub fn may_use_perf_probes() -> bool {
    effective() & (1 << SYS_ADMIN.bit) != 0
}

fn effective() -> u64 {
    Process::myself().and_then(|process| process.status()).map_or(0, |status| status.capeff)
}

fn lacking(effective: u64) -> Vec<Capability> {
    let has = |bit: u32| effective & (1 << bit) != 0;
    let covered = |capability: &Capability| {
        has(capability.bit)
            || (has(SYS_ADMIN.bit) && matches!(capability.bit, 38..=40))
            // CAP_DAC_OVERRIDE
            || (capability.bit == 2 && has(1))
    };
    NEEDED.into_iter().filter(|capability| !covered(capability)).collect()
}

/// Why the kernel may have answered EPERM, and what to do.
pub fn explain_refusal() -> String {
    let missing: Vec<_> = missing().into_iter().map(|capability| capability.name).collect();
    if !missing.is_empty() {
        return format!("missing {}; run as root or grant them", missing.join(", "));
    }
    match lockdown(Path::new("/proc")) {
        Some(mode) if mode == "confidentiality" => {
            "the kernel is locked down in confidentiality mode, which forbids reading memory"
                .to_owned()
        }
        _ => "all capabilities are present; a security module, a seccomp filter or a container's \
              device rules may forbid bpf(2)"
            .to_owned(),
    }
}

/// The kernel's lockdown mode, where it can be read (security/lockdown, Linux 5.4): a container has
/// none of these files of its own.
pub fn lockdown(proc: &Path) -> Option<String> {
    let read = |root: &Path| fs::read_to_string(root.join("sys/kernel/security/lockdown")).ok();
    let modes = discover::roots(proc).iter().find_map(|root| read(root))?;
    let (_, rest) = modes.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::lacking;

    fn check(effective: u64, expect: &[&str]) {
        let names: Vec<_> = lacking(effective).iter().map(|c| c.name).collect();
        assert_eq!(names, expect);
    }

    #[test]
    fn missing_capabilities() {
        check(u64::MAX, &[]);
        check(1 << 21 | 1 << 19 | 1 << 1, &[]);
        check(1 << 21, &["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]);
        check(1 << 39 | 1 << 38 | 1 << 19 | 1 << 40 | 1 << 2, &[]);
        check(!(1 << 39 | 1 << 21), &["CAP_BPF"]);
    }
}
