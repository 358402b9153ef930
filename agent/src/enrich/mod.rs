//! Messages and ids in, records with names out.
//!
//! Everything is looked up in caches that other tasks fill; a record waits for a name at most
//! [`CONTAINER_DEADLINE`]. With no container runtime reachable all works the same, without names.
//! What a trace knew can be noted down, and serves instead of this node when it is replayed.

mod cgroup;
mod clerk;
mod clock;
mod containers;
mod cri;
mod docker;
mod enricher;
mod libraries;
mod names;
mod notes;
mod peers;
mod podman;
mod processes;
mod recorded;
mod running;
mod runtimes;
mod storage;

pub use clerk::Clerk;
pub use containers::Containers;
pub use enricher::{CONTAINER_DEADLINE, Enricher, NAME_DEADLINE};
pub use libraries::Libraries;
pub use names::Names;
pub(crate) use notes::Note;
pub use peers::Peers;
pub(crate) use processes::Home;
pub use processes::Processes;
pub(crate) use recorded::Recorded;
pub use running::process;
pub(crate) use running::{Running, container_of, running};
pub use runtimes::runtime_sockets;
pub(crate) use storage::{Mounted, Storage, storages, volume_name};

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{capture::Socket, decode::Message};

/// A message with all that is known about its process. What `emit` writes.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The message.
    pub message: Message,
    /// `CLOCK_REALTIME` nanoseconds since the epoch when the message began.
    pub timestamp_ns: i64,
    /// The process.
    pub process: Arc<Process>,
    /// Its container; absent on the host.
    pub container: Option<Arc<Container>>,
    /// The TLS library.
    pub tls: Option<Arc<Library>>,
    /// The socket of its connection.
    pub socket: Option<Arc<Socket>>,
    /// The container or pod of this node that is the other side of the connection.
    pub peer: Option<Arc<str>>,
}

/// What is known about a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// As the host numbers it.
    pub pid: u32,
    /// Name of its first thread.
    pub command: Option<String>,
    /// Path of its executable, inside its container.
    pub executable: Option<String>,
}

/// What is known about a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// 64 hexadecimal digits, where a runtime made it.
    pub id: Option<String>,
    /// Without a leading slash.
    pub name: Option<String>,
    /// `docker`, `podman`, `containerd`, …
    pub runtime: Option<String>,
    /// As the runtime names it.
    pub image: Option<String>,
    /// The Kubernetes pod that it belongs to.
    pub pod: Option<Pod>,
}

impl Container {
    /// Its id as runtimes show it to people.
    pub fn short_id(&self) -> Option<&str> {
        self.id.as_deref().map(|id| id.get(..12).unwrap_or(id))
    }
}

/// A Kubernetes pod, and one container in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: Option<String>,
    /// The container's name in the pod's specification.
    pub container: Option<String>,
}

/// The TLS library that a call went through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// `openssl`, …
    pub name: Cow<'static, str>,
    /// `3.0.19`; absent when it is not known.
    pub version: Option<String>,
    /// Path of its file inside the container.
    pub path: String,
}
