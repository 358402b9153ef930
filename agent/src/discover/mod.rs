//! Kernel events and /proc in, sightings of mapped executable files out.
//!
//! Which process maps which file, which processes started, changed their name, and went.
//! Functions that read the system take the root of a /proc.

mod layers;
mod maps;
mod mounts;
mod scan;
mod sockets;
mod watch;

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Instant,
};

pub use layers::Layers;
pub use maps::{MapsError, mappings};
pub use mounts::{MountWatcher, mount, mounts, unescape_octal};
pub use scan::{host, processes, root, roots};
pub use sockets::{TcpSocket, of_descriptor as socket_of_descriptor, only as only_socket};
pub use watch::{WatchError, Watcher};

/// A path as the process that names it sees it, inside its container. It must not be opened from
/// the host as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContainerPath(PathBuf);

impl ContainerPath {
    /// Takes a path that a process, or the kernel on its behalf, names.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The path, to compare or to show, not to open.
    pub fn as_container_path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for ContainerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// A file mapped executable into a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address of the mapping.
    pub start: u64,
    /// First address behind the mapping.
    pub end: u64,
    /// The file's path in the container; the suffix ` (deleted)` is taken off.
    pub path: ContainerPath,
    /// Whether the file had no name any more.
    pub deleted: bool,
    /// Device and inode as the process's mount shows them; an overlay's, not the real file's.
    pub inode: Option<(u64, u64)>,
}

/// What happened on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A process mapped a file executable.
    Mapped {
        /// The process, as the host numbers it.
        pid: u32,
        /// What it mapped.
        mapping: Mapping,
        /// The file's build-id, where the kernel gave it.
        build_id: Option<BuildId>,
        /// When this became known.
        seen: Instant,
    },
    /// A process was forked off another.
    Forked {
        /// The new process.
        pid: u32,
        /// The process that it is a copy of.
        parent: u32,
    },
    /// A process executed a program.
    Executed {
        /// The process.
        pid: u32,
        /// Its new command name.
        command: String,
    },
    /// A process changed its command name.
    Renamed {
        /// The process.
        pid: u32,
        /// Its new command name.
        command: String,
    },
    /// The last thread of a process, or its first, has exited.
    Exited {
        /// The process.
        pid: u32,
    },
    /// An overlay was mounted on the host: most likely the root of a container to come.
    Mounted {
        /// The mount's id in mountinfo.
        id: i32,
        /// Where, on the host.
        point: PathBuf,
    },
    /// An overlay is no longer mounted.
    Unmounted {
        /// The mount's id in mountinfo.
        id: i32,
    },
    /// Events were lost, or may have been: /proc must be read again.
    Lost,
}

impl Event {
    /// The process that it happened to.
    pub const fn pid(&self) -> Option<u32> {
        match self {
            Self::Mapped { pid, .. }
            | Self::Forked { pid, .. }
            | Self::Executed { pid, .. }
            | Self::Renamed { pid, .. }
            | Self::Exited { pid } => Some(*pid),
            Self::Mounted { .. } | Self::Unmounted { .. } | Self::Lost => None,
        }
    }
}

/// A GNU build-id, up to 20 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BuildId {
    bytes: [u8; 20],
    len: u8,
}

impl BuildId {
    /// Takes the bytes of a build-id; `None` for none, for zeros, and for more than 20.
    pub fn new(id: &[u8]) -> Option<Self> {
        let len = u8::try_from(id.len()).ok()?;
        let mut bytes = [0; 20];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        id.iter().any(|&byte| byte != 0).then_some(Self { bytes, len })
    }
}
impl fmt::Display for BuildId {
    /// Hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.iter().take(self.len.into()).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
