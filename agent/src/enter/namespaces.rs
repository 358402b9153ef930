//! Entering the namespaces of a process, and what the kernel says against it.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
};

use anyhow::{Error, Result, anyhow};
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
};

/// The namespaces of a process.
pub(super) struct Namespaces<'a> {
    /// The process: its number may be another's by now.
    pub(super) pidfd: &'a OwnedFd,
    /// As the user calls it.
    pub(super) name: &'a str,
}

impl Namespaces<'_> {
    /// Enters these, one after the other: a refusal names the one.
    pub(super) fn join(&self, namespaces: CloneFlags) -> Result<()> {
        namespaces.iter().try_for_each(|namespace| {
            setns(self.pidfd, namespace).map_err(|errno| self.refusal(namespace, errno))
        })
    }

    fn refusal(&self, namespace: CloneFlags, errno: Errno) -> Error {
        let (name, what) = (self.name.escape_debug(), word(namespace));
        match errno {
            Errno::ESRCH => anyhow!("{name} has ended"),
            Errno::EPERM => anyhow!(
                "not permitted to enter the {what} namespace of {name}; run as root \
                 (CAP_SYS_ADMIN, CAP_SYS_CHROOT and CAP_SYS_PTRACE are needed)"
            ),
            _ => Error::new(io::Error::from(errno))
                .context(format!("the kernel refuses the {what} namespace of {name}")),
        }
    }
}

fn word(namespace: CloneFlags) -> &'static str {
    match namespace {
        CloneFlags::CLONE_NEWNET => "network",
        CloneFlags::CLONE_NEWNS => "mount",
        CloneFlags::CLONE_NEWUTS => "UTS",
        CloneFlags::CLONE_NEWIPC => "IPC",
        CloneFlags::CLONE_NEWPID => "pid",
        CloneFlags::CLONE_NEWUSER => "user",
        _ => "cgroup",
    }
}

/// Whether a process is in another user namespace than this one: the kernel lets nobody enter his own
/// again. `process` is its directory in /proc.
pub(super) fn other_users(process: &Path) -> io::Result<bool> {
    let identity = |process: &Path| {
        let metadata = fs::metadata(process.join("ns/user"))?;
        Ok::<_, io::Error>((metadata.dev(), metadata.ino()))
    };
    Ok(identity(process)? != identity(Path::new("/proc/self"))?)
}
