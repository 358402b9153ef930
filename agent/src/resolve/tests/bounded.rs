//! Work in a process of its own that may take so much memory and no more.

use std::{env, process::Command};

use rustix::process::{Resource, Rlimit, setrlimit};

/// What such a process is told.
const NAME: &str = "TLSTAP_BOUNDED";

/// Runs a test's work on what was prepared with so many bytes for data of its own, beside what the
/// process had before.
pub(super) fn within<T>(bytes: u64, test: &str, prepare: impl FnOnce() -> T, work: impl FnOnce(T)) {
    if env::var_os(NAME).is_some_and(|name| name == test) {
        let prepared = prepare();
        let limit = Some(data() + bytes);
        setrlimit(Resource::Data, Rlimit { current: limit, maximum: limit }).unwrap();
        return work(prepared);
    }
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "--nocapture", "--test-threads=1", test]).env(NAME, test);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "there is no {test}: {said}");
}

/// Bytes that are mapped for data (`VmData` of proc(5), what `RLIMIT_DATA` bounds).
fn data() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
