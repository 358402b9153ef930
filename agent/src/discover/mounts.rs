//! The mounts of a process, and the mounts that come and go on the node.
//!
//! A container's root is mounted some 100 ms before its first process starts, so that libraries
//! in it can be probed in time.

use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use procfs::process::MountInfo;
use tokio::io::{Interest, unix::AsyncFd};

use super::{Event, layers};

/// The mounts that a process sees; `process` is its directory in /proc. A line that cannot be understood is left out: a container may
/// mount what it likes, under any name.
pub fn mounts(process: &Path) -> Vec<MountInfo> {
    lines(process).split(|&byte| byte == b'\n').filter_map(mount_of_line).collect()
}

/// The mount of this number among them. Only its line is taken apart: there may be 100,000 (`fs.mount-max`).
pub fn mount(process: &Path, id: u64) -> Option<MountInfo> {
    let begin = format!("{id} ");
    let lines = lines(process);
    mount_of_line(
        lines.split(|&byte| byte == b'\n').find(|line| line.starts_with(begin.as_bytes()))?,
    )
}

fn lines(process: &Path) -> Vec<u8> {
    fs::read(process.join("mountinfo")).unwrap_or_default()
}

fn mount_of_line(line: &[u8]) -> Option<MountInfo> {
    let line = String::from_utf8_lossy(line);
    let mut mount = MountInfo::from_line(&line).ok()?;
    layers::join_options(&line, &mut mount);
    mount.root = unescape_octal(&mount.root);
    mount.mount_point = unescape_octal(&mount.mount_point.to_string_lossy()).into();
    Some(mount)
}

/// Takes back the escapes of mountinfo: `\040` and its like for bytes that would break the line
/// (seq_escape, fs/seq_file.c). procfs leaves them in.
pub fn unescape_octal(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { rest.get(4..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Watches the overlay mounts of the node.
#[derive(Debug)]
pub struct MountWatcher {
    host: PathBuf,
    /// The kernel signals a change on an open mountinfo (proc_pid_mountinfo(5)).
    changed: AsyncFd<File>,
    known: HashMap<i32, PathBuf>,
}

impl MountWatcher {
    /// Watches as the process with the given directory in /proc sees it. Must be called in a
    /// tokio runtime.
    pub fn start(host: PathBuf) -> io::Result<Self> {
        let file = File::open(host.join("mountinfo"))?;
        // SAFETY: a file is the same descriptor for as long as it lives.
        let changed = unsafe { AsyncFd::register_with_interest(file, Interest::PRIORITY) }?;
        Ok(Self { host, changed, known: HashMap::new() })
    }

    /// What came and went since the last time.
    pub fn changes(&mut self) -> Vec<Event> {
        let now: HashMap<i32, PathBuf> = mounts(&self.host)
            .into_iter()
            .filter(|mount| mount.fs_type == "overlay")
            .map(|mount| (mount.mnt_id, mount.mount_point))
            .collect();
        let gone = self.known.keys().filter(|id| !now.contains_key(id));
        let mut events: Vec<_> = gone.map(|&id| Event::Unmounted { id }).collect();
        let new = now.iter().filter(|(id, _)| !self.known.contains_key(id));
        events.extend(new.map(|(&id, point)| Event::Mounted { id, point: point.clone() }));
        self.known = now;
        events
    }

    /// Completes when something has changed.
    pub async fn changed(&mut self) -> io::Result<()> {
        self.changed.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{mount, mounts, unescape_octal};

    #[test]
    fn octal_escapes() {
        assert_eq!(unescape_octal(r"/a\040b\134:c\12"), r"/a b\:c\12");
    }

    /// Line ends in names come as escapes, and so does what looks like one.
    #[test]
    fn names_that_look_like_lines() {
        let process = tempfile::tempdir().unwrap();
        let text = r"36 35 0:52 / / rw - overlay overlay rw,lowerdir=/l
37 36 0:53 / /a\01236\04035\0400:9\040/\040/\040rw\040-\040overlay\040x\040rw rw - tmpfs none rw
no mount at all
38 36 0:54 / /b\134012 rw - tmpfs none rw
";
        fs::write(process.path().join("mountinfo"), text).unwrap();
        let all: Vec<_> = mounts(process.path())
            .into_iter()
            .map(|mount| (mount.mnt_id, mount.mount_point.to_str().unwrap().to_owned()))
            .collect();
        let named = "/a\n36 35 0:9 / / rw - overlay x rw".to_owned();
        let expect = [(36, "/".to_owned()), (37, named), (38, r"/b\012".to_owned())];
        assert_eq!(all, expect);
        for (id, point) in expect {
            let found = mount(process.path(), u64::try_from(id).unwrap()).unwrap();
            assert_eq!(found.mount_point.to_str(), Some(point.as_str()));
        }
        assert!(mount(process.path(), 3).is_none());
    }
}
