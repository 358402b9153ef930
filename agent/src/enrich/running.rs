//! The containers that run now, named once: for commands that do one thing and end.

use std::{collections::BTreeMap, io, path::Path, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    Container, Names, Process,
    processes::{Home, Processes},
};
use crate::discover;

/// A container and its processes.
#[derive(Debug)]
pub(crate) struct Running {
    /// What is known of it.
    pub(crate) container: Arc<Container>,
    /// Its processes, as the host numbers them.
    pub(crate) pids: Vec<u32>,
    home: Home,
}

impl Running {
    /// Whether a process is in it at this moment: a number may have become another's.
    pub(crate) fn holds(&self, proc: &Path, pid: u32) -> bool {
        Processes::new(proc).know(pid).home == self.home
    }

    #[cfg(test)]
    pub(crate) fn sample(container: Container) -> Self {
        Self { container: container.into(), pids: Vec::new(), home: Home::Host }
    }
}

/// All containers that have processes. Runtimes may take so long to name them; what they do not name is
/// known by its id. Must be called in a tokio runtime.
pub(crate) async fn running(proc: &Path, wait: Duration) -> io::Result<Vec<Running>> {
    let (names, runtimes) = Names::start(proc);
    let mut homes: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    for pid in discover::processes(proc)? {
        let home = names.processes.know(pid).home.clone();
        let root = match &home {
            Home::Host => continue,
            Home::Container(_) => None,
            // Two of them may have one name.
            Home::Root { .. } => discover::root(&proc.join(pid.to_string())).ok(),
        };
        homes.entry((home, root)).or_default().push(pid);
    }
    // All are asked for before the first is waited for.
    for (home, _) in homes.keys() {
        names.container(home);
    }
    let deadline = Instant::now() + wait;
    let mut found = Vec::new();
    for ((home, _), pids) in homes {
        let Some(&first) = pids.first() else { continue };
        if let Some(container) = names.container_by(first, deadline).await {
            found.push(Running { container, pids, home });
        }
    }
    runtimes.abort();
    Ok(found)
}

/// The container of a process, named likewise; `None` on the host. Must be called in a tokio runtime.
pub(crate) async fn container_of(proc: &Path, pid: u32, wait: Duration) -> Option<Arc<Container>> {
    let (names, runtimes) = Names::start(proc);
    let container = names.container_by(pid, Instant::now() + wait).await;
    runtimes.abort();
    container
}

/// What is known about a process.
pub fn process(proc: &Path, pid: u32) -> Arc<Process> {
    Arc::clone(&Processes::new(proc).know(pid).process)
}
