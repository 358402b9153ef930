//! Where the names of this node come from.

use std::{path::Path, sync::Arc};

use tokio::{
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use super::{
    Container, Libraries, Peers, Process, Processes, containers::Containers, peers::Owner,
    processes::Home, runtimes,
};
use crate::capture::{Endpoints, Socket};

/// What names come from, shared with the stages that learn them.
#[derive(Clone, Debug)]
pub struct Names {
    /// Processes.
    pub processes: Arc<Processes>,
    /// Containers.
    pub containers: Arc<Containers>,
    /// Libraries.
    pub libraries: Arc<Libraries>,
    /// Addresses.
    pub peers: Arc<Peers>,
}

impl Names {
    /// Reads processes from the given /proc, and asks container runtimes in the background until
    /// the handle is aborted. Must be called in a tokio runtime.
    pub fn start(proc: &Path) -> (Self, AbortHandle) {
        let (containers, wanted) = Containers::new();
        let containers = Arc::new(containers);
        let runtimes =
            tokio::spawn(runtimes::serve(proc.to_owned(), Arc::clone(&containers), wanted));
        let names = Self {
            processes: Arc::new(Processes::new(proc)),
            containers,
            libraries: Arc::default(),
            peers: Arc::new(Peers::new(proc)),
        };
        (names, runtimes.abort_handle())
    }

    /// The container of a process, as far as it is known now; `None` on the host. The flag says
    /// whether more may become known soon.
    pub(crate) fn container(&self, home: &Home) -> (Option<Arc<Container>>, bool) {
        home.container(|id| self.containers.look_up(id))
    }

    /// What is known about a process.
    pub fn process(&self, pid: u32) -> Arc<Process> {
        Arc::clone(&self.processes.know(pid).process)
    }

    /// Where a process lives.
    pub(crate) fn home(&self, pid: u32) -> Home {
        self.processes.know(pid).home.clone()
    }

    /// A process and its container, as far as they are known now, and whether more may become
    /// known of the container soon.
    pub(crate) fn process_and_container(
        &self,
        pid: u32,
    ) -> (Arc<Process>, Option<Arc<Container>>, bool) {
        let known = self.processes.know(pid);
        let (container, pending) = self.container(&known.home);
        (Arc::clone(&known.process), container, pending)
    }

    /// The name of the container or pod that is a socket's other side, as far as it is known now,
    /// and whether more may become known soon.
    pub(super) fn peer(&self, socket: Option<&Socket>) -> (Option<Arc<str>>, bool) {
        let Some(Endpoints::Tcp { peer, .. }) = socket.map(|socket| &socket.endpoints) else {
            return (None, false);
        };
        match self.peers.look_up(peer.ip(), &self.processes) {
            Owner::Unknown => (None, false),
            Owner::Pending => (None, true),
            Owner::Known(homes) => {
                let looked: Vec<_> = homes.iter().map(|home| self.container(home)).collect();
                let pending = looked.iter().any(|(_, pending)| *pending);
                (name_of(looked.into_iter().filter_map(|(container, _)| container)), pending)
            }
        }
    }

    /// The container of a process, named if a runtime answers before the deadline.
    pub async fn container_by(&self, pid: u32, deadline: Instant) -> Option<Arc<Container>> {
        let known = self.processes.know(pid);
        loop {
            let (container, pending) = self.container(&known.home);
            if !pending || timeout_at(deadline, self.containers.changed()).await.is_err() {
                return container;
            }
        }
    }
}

/// The name of containers that share a network: their pod's, else that of the only one.
fn name_of(containers: impl Iterator<Item = Arc<Container>>) -> Option<Arc<str>> {
    let mut names = Vec::new();
    for container in containers {
        if let Some(pod) = &container.pod {
            return Some(format!("{}/{}", pod.namespace, pod.name).into());
        }
        names.extend(container.name.clone());
    }
    match names.as_slice() {
        [name] => Some(name.as_str().into()),
        _ => None,
    }
}
