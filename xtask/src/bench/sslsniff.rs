//! bcc's `sslsniff` as Debian packages it, made to run on a kernel without headers of its own: bcc
//! compiles against a tree of the kernel's headers, for which any near enough version does, and of
//! Debian's halves of one it wants a whole.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::process::{Core, on};
use crate::{
    command,
    packages::{self, Package},
};

/// The script, and the headers that it is compiled against.
pub(super) struct Sslsniff {
    script: PathBuf,
    headers: PathBuf,
}

const TOOL: &str = "/usr/sbin/sslsniff-bpfcc";

/// Most bytes of a call that it prints.
pub(super) const MAX_BYTES: u64 = 8192;

impl Sslsniff {
    /// Makes both in a folder.
    pub(super) fn prepare(folder: &Path) -> Result<Self> {
        let sniff = Package::new("bpfcc-tools", TOOL);
        let headers = Package::new("linux-headers-amd64", "/usr/share/doc/linux-headers-amd64");
        packages::ensure("measuring sslsniff", &[sniff, headers])?;
        let prepared =
            Self { script: folder.join("sslsniff.py"), headers: folder.join("kernel-headers") };
        // The headers define a `min` that is refused there by newer compilers.
        let text = fs::read_to_string(TOOL).context("no sslsniff")?.replace(
            "min((size_t)MAX_BUF_SIZE, (size_t)len)",
            "((size_t)len < MAX_BUF_SIZE ? (size_t)len : MAX_BUF_SIZE)",
        );
        fs::write(&prepared.script, text).context("failed to copy sslsniff")?;
        let (common, own) = halves().context("no kernel headers in /usr/src")?;
        fs::create_dir_all(&prepared.headers)?;
        for half in [common, own] {
            let mut copy = Command::new("cp");
            copy.args(["-a", "--symbolic-link", "--force"]).arg(half.join("."));
            command::output(copy.arg(&prepared.headers))?;
        }
        Ok(prepared)
    }

    /// Starts it on a process, with its output in a file.
    pub(super) fn command(&self, pid: u32, output: &Path) -> Command {
        let shell = "exec /usr/bin/python3 \"$1\" -p \"$2\" >\"$3\"";
        let mut command = on(Core::Others, "sh");
        command.env("BCC_KERNEL_SOURCE", &self.headers);
        command.args(["-c", shell, "sh"]).arg(&self.script).arg(pid.to_string()).arg(output);
        command
    }
}

/// `linux-headers-6.1.0-56-common` and the newest of what goes with it.
fn halves() -> Option<(PathBuf, PathBuf)> {
    let entries = fs::read_dir("/usr/src").ok()?.flatten().map(|entry| entry.path());
    let mut common: Vec<_> =
        entries.filter(|path| path.to_string_lossy().ends_with("-common")).collect();
    common.sort();
    let common = common.pop()?;
    let own = common.to_string_lossy().replace("-common", "-amd64");
    Some((common, PathBuf::from(own)))
}

/// The bytes that it printed, by its lines such as `READ/RECV    0.000091155  nginx  24973  64`.
pub(super) fn printed(text: &[u8]) -> u64 {
    let length = |line: &[u8]| {
        let line = std::str::from_utf8(line).ok()?;
        let begins = line.starts_with("READ/RECV ") || line.starts_with("WRITE/SEND ");
        let last = begins.then(|| line.split_whitespace().last()).flatten()?;
        Some(last.parse::<u64>().ok()?.min(MAX_BYTES))
    };
    text.split(|&byte| byte == b'\n').filter_map(length).sum()
}
