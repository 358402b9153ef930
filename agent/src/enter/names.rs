//! How the container looks up names, laid over the host's way.
//!
//! The container's own `resolv.conf` and `hosts` are in place of the host's, and of what `nsswitch.conf` names
//! for hosts only files and DNS are left: every other service is a program of the host, and answers for the
//! host. A layer over the whole of /etc holds them, since a mount on a file is gone when the file is
//! replaced, which systemd-resolved does whenever a container starts. /etc cannot be written meanwhile.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::OwnedFd,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    fs::{CWD, Mode, OFlags, mkdirat, openat},
    mount::{MountAttrFlags, MoveMountFlags, UnmountFlags, move_mount, unmount},
};

use super::mounts;
use crate::resolve::{OpenError, open_file_beneath};

/// In /etc; the last says who is asked.
const FILES: [&str; 3] = ["resolv.conf", "hosts", SERVICES];
const SERVICES: &str = "nsswitch.conf";

/// Most bytes of a file: lists of blocked hosts have megabytes.
const MOST: u64 = 16 << 20;

/// Where those listen who answer programs for the host, however `nsswitch.conf` is.
const LISTENERS: [&str; 3] = ["/run/nscd", "/var/run/nscd", "/run/systemd/resolve"];

/// What is in the files, in their order; a file that is missing is empty.
#[derive(PartialEq)]
pub(super) struct Names([Vec<u8>; 3]);

impl Names {
    /// Those of a process, whose directory in /proc is `process`; `None` when they are the host's.
    pub(super) fn of(process: &Path) -> Result<Option<Self>> {
        let host = Self::read(Path::new("/"))?;
        let mut inside = Self::read(&process.join("root"))?;
        if inside == host {
            return Ok(None);
        }
        let ([.., asked], [.., services]) = (&host.0, &mut inside.0);
        *services = only_files_and_dns(asked, services);
        Ok(Some(inside))
    }

    fn read(root: &Path) -> Result<Self> {
        let [resolv, hosts, services] = FILES;
        Ok(Self([read(root, resolv)?, read(root, hosts)?, read(root, services)?]))
    }

    /// Lays them over /etc, in a mount namespace of one's own.
    pub(super) fn lay(&self) -> Result<()> {
        self.over_etc().context(
            "failed to lay the container's names over /etc, which takes overlayfs \
             (--host-names goes without)",
        )?;
        LISTENERS.iter().map(Path::new).filter(|folder| folder.is_dir()).try_for_each(|folder| {
            mounts::create("tmpfs", &[("mode", "755")], QUIET)
                .and_then(|nothing| mounts::cover(folder, &nothing, |_| false))
                .with_context(|| format!("failed to cover {}", folder.display()))
        })
    }

    fn over_etc(&self) -> io::Result<()> {
        /// Overlayfs knows its layers by their paths; a folder that is there on every host.
        const STAGE: &str = "/proc";
        let files = mounts::create("tmpfs", &[("mode", "755")], QUIET)?;
        self.write(&files)?;
        move_mount(&files, c"", CWD, STAGE, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        let layers = [("lowerdir", "/proc/etc:/etc")];
        let etc = mounts::create("overlay", &layers, MountAttrFlags::MOUNT_ATTR_RDONLY);
        unmount(STAGE, UnmountFlags::DETACH)?;
        // In a container these files are mounted one by one.
        let is_ours = |path: &Path| FILES.iter().any(|file| path == Path::new("/etc").join(file));
        mounts::cover(Path::new("/etc"), &etc?, |path| !is_ours(path))
    }

    fn write(&self, files: &OwnedFd) -> io::Result<()> {
        mkdirat(files, c"etc", Mode::from_raw_mode(0o755))?;
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        FILES.iter().zip(&self.0).try_for_each(|(name, content)| {
            let path = Path::new("etc").join(name);
            let file = openat(files, &path, flags, Mode::from_raw_mode(0o644))?;
            File::from(file).write_all(content)
        })
    }
}

const QUIET: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID
    .union(MountAttrFlags::MOUNT_ATTR_NODEV)
    .union(MountAttrFlags::MOUNT_ATTR_NOEXEC);

/// A file in `etc` below a root, by links that lead nowhere else.
fn read(root: &Path, name: &str) -> Result<Vec<u8>> {
    let path = Path::new("/etc").join(name);
    let file = match open_file_beneath(root, &path, OFlags::empty()) {
        Ok(file) => File::from(file),
        // Or the process has ended, which is seen later.
        Err(OpenError::Gone) => return Ok(Vec::new()),
        Err(error) => {
            return Err(error).with_context(|| format!("failed to open its {}", path.display()));
        }
    };
    let mut content = Vec::new();
    file.take(MOST + 1)
        .read_to_end(&mut content)
        .with_context(|| format!("failed to read its {}", path.display()))?;
    if content.len() as u64 > MOST {
        bail!("its {} has more than {} MiB", path.display(), MOST >> 20);
    }
    Ok(content)
}

/// The host's `nsswitch.conf`, with the container's line for hosts as far as nothing of the host is
/// needed for it.
fn only_files_and_dns(host: &[u8], inside: &[u8]) -> Vec<u8> {
    let (host, inside) = (String::from_utf8_lossy(host), String::from_utf8_lossy(inside));
    let mut kept = inside.lines().find_map(services).map(allowed).unwrap_or_default();
    if kept.is_empty() {
        kept = "files dns".to_owned();
    }
    let others = host.lines().filter(|line| services(line).is_none());
    let lines = others.map(str::to_owned).chain([format!("hosts: {kept}")]);
    lines.flat_map(|line| [line, "\n".to_owned()]).collect::<String>().into_bytes()
}

/// What a line names for hosts (nsswitch.conf(5)).
fn services(line: &str) -> Option<&str> {
    let (line, _) = line.split_once('#').unwrap_or((line, ""));
    line.trim_start().strip_prefix("hosts")?.trim_start().strip_prefix(':')
}

/// Files and DNS among services, each with the actions in brackets behind it.
fn allowed(services: &str) -> String {
    let (mut kept, mut keeping, mut bracket) = (Vec::new(), false, false);
    for word in services.split_whitespace() {
        bracket |= word.starts_with('[');
        if !bracket {
            keeping = matches!(word, "files" | "dns");
        }
        bracket &= !word.ends_with(']');
        if keeping {
            kept.push(word);
        }
    }
    kept.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(host: &str, inside: &str, expect: &str) {
        let made = only_files_and_dns(host.as_bytes(), inside.as_bytes());
        assert_eq!(String::from_utf8(made).unwrap(), expect);
    }

    #[test]
    fn services_of_the_host_are_left_out() {
        let host = "passwd: files sss\nhosts: files resolve [!UNAVAIL=return] dns\nrpc: db\n";
        check(host, "", "passwd: files sss\nrpc: db\nhosts: files dns\n");
        check(host, "hosts: dns [NOTFOUND=return] files\n", {
            "passwd: files sss\nrpc: db\nhosts: dns [NOTFOUND=return] files\n"
        });
        check("", " hosts : mdns4 [ NOTFOUND=return ] files [A=b C=d] # x\n", {
            "hosts: files [A=b C=d]\n"
        });
        check("", "hosts: resolve myhostname\n", "hosts: files dns\n");
        check(
            "#hosts: nis\nhostsx: nis\n",
            "hosts:",
            "#hosts: nis\nhostsx: nis\nhosts: files dns\n",
        );
    }
}
