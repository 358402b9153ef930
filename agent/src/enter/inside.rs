//! The container's files as its process has them: root, working directory, environment.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _},
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use anyhow::{Context as _, Result};
use rustix::{
    fs::{Mode, OFlags},
    process::{chdir, chroot, fchdir},
};

/// More than a program can be started with (`MAX_ARG_STRINGS` and the limit of the stack).
const MOST_ENVIRONMENT: u64 = 4 << 20;

/// Where programs are looked for in a container that does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the terminal is called is known by who sits at it.
const OURS: [&str; 2] = ["TERM", "COLORTERM"];

/// A process's view of its files.
pub(super) struct Inside {
    root: OwnedFd,
    directory: OwnedFd,
    environment: Vec<u8>,
}

impl Inside {
    /// `process` is its directory in /proc.
    pub(super) fn open(process: &Path) -> io::Result<Self> {
        let folder = |name| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(process.join(name), flags, Mode::empty())
        };
        let mut environment = Vec::new();
        File::open(process.join("environ"))?
            .take(MOST_ENVIRONMENT)
            .read_to_end(&mut environment)?;
        Ok(Self { root: folder("root")?, directory: folder("cwd")?, environment })
    }

    /// Leaves behind what this process has open beside its three streams, such as a folder that the user's
    /// shell has: it would lead to the host's files.
    pub(super) fn close_others() -> Result<()> {
        // SAFETY: nothing is closed before the program is executed.
        let closed = unsafe {
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
        };
        if closed == 0 {
            return Ok(());
        }
        Err(io::Error::last_os_error()).context("failed to leave open files behind")
    }

    /// Makes root and working directory those of the process, in whose mount namespace this one is by
    /// now: its root need not be that namespace's.
    pub(super) fn settle(&self) -> Result<()> {
        fchdir(&self.root)
            .and_then(|()| chroot(c"."))
            .and_then(|()| fchdir(&self.directory))
            .context("failed to change to the container's root")?;
        // A directory outside of the root would lead to the host's files (CVE-2024-21626); the kernel
        // does not call it by an absolute path (getcwd(2)).
        if !env::current_dir().is_ok_and(|directory| directory.is_absolute()) {
            chdir(c"/").context("failed to change to the container's root")?;
        }
        Ok(())
    }

    /// The variables of the process, with the host's word for the terminal. `tools` is a folder behind all
    /// others in which programs are looked for.
    pub(super) fn environment(&self, tools: Option<&str>) -> Vec<(OsString, OsString)> {
        let mut variables = parse(&self.environment);
        variables.retain(|(name, _)| !OURS.iter().any(|ours| name == ours));
        variables.extend(OURS.iter().filter_map(|name| Some((name.into(), env::var_os(name)?))));
        let path = variables.iter().rposition(|(name, _)| name == "PATH");
        let mut path = path.map_or_else(|| PATH.into(), |place| variables.swap_remove(place).1);
        if let Some(tools) = tools {
            path.push(":");
            path.push(tools);
        }
        variables.push(("PATH".into(), path));
        variables
    }
}

/// The variables of /proc/PID/environ, which a process may fill with anything.
fn parse(environment: &[u8]) -> Vec<(OsString, OsString)> {
    let own = |bytes| OsStr::from_bytes(bytes).to_owned();
    environment
        .split(|&byte| byte == 0)
        .filter_map(|variable| {
            let equals = variable.iter().position(|&byte| byte == b'=').filter(|&at| at > 0)?;
            let (name, value) = variable.split_at_checked(equals)?;
            Some((own(name), own(value.get(1..)?)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_that_a_process_wrote() {
        let parsed = parse(b"PATH=/bin\0A=\0=x\0none\0\0B=c=d\0\xff=\xfe");
        let expect: [(&[u8], &[u8]); 4] =
            [(b"PATH", b"/bin"), (b"A", b""), (b"B", b"c=d"), (b"\xff", b"\xfe")];
        let parsed: Vec<_> = parsed.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        assert_eq!(parsed, expect);
    }
}
