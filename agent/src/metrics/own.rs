//! What the agent itself takes, by the names that all of Prometheus's libraries use.

use std::time::{SystemTime, UNIX_EPOCH};

use procfs::process::Process;
use prometheus_client::registry::Registry;

use super::samples::Samples;
use crate::limits::usage::processor_time;

/// Writes down what can be read.
pub(super) fn register(registry: &mut Registry, started: SystemTime) {
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let help = "Start time of the process, seconds since the epoch";
    registry.register("process_start_time_seconds", help, Samples::gauge(started));
    let help = "Processor time of the agent in user space and in the kernel, without its probes";
    registry.register(
        "process_cpu_seconds",
        help,
        Samples::counter(processor_time().as_secs_f64()),
    );
    let Ok(process) = Process::myself() else { return };
    if let Ok(descriptors) = process.fd_count() {
        registry.register("process_open_fds", "Open descriptors", Samples::gauge(descriptors));
    }
    if let Ok(stat) = process.stat() {
        let resident = stat.rss.saturating_mul(procfs::page_size());
        let help = "Resident memory of the agent; a ring buffer counts twice";
        registry.register("process_resident_memory_bytes", help, Samples::gauge(resident));
        let help = "Virtual memory of the agent";
        registry.register("process_virtual_memory_bytes", help, Samples::gauge(stat.vsize));
    }
}
