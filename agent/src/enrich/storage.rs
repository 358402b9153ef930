//! Where a container runtime says that it keeps a container's files.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use super::{Container, docker, podman};
use crate::select;

/// What a runtime tells of the files of a container, running or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Storage {
    /// Whose files they are.
    pub(crate) container: Container,
    /// Whether it runs.
    pub(crate) running: bool,
    /// `overlay2`, `btrfs`, …
    pub(crate) driver: String,
    /// Where the layers are shown as one, while the container runs.
    pub(crate) merged: Option<PathBuf>,
    /// The container's own layer.
    pub(crate) upper: Option<PathBuf>,
    /// The layers of the image, from the top.
    pub(crate) lower: Vec<PathBuf>,
    /// What is mounted over them.
    pub(crate) mounts: Vec<Mounted>,
}

/// One mount of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mounted {
    /// Where, inside the container.
    pub(crate) point: PathBuf,
    /// `bind`, `volume`, `tmpfs`, …
    pub(crate) kind: String,
    /// The volume's name.
    pub(crate) volume: Option<String>,
    /// What, on the node; absent for a tmpfs.
    pub(crate) source: Option<PathBuf>,
    /// Whether the container may not write to it.
    pub(crate) read_only: bool,
}

/// What the node's own runtimes tell of containers that are called so or whose id begins so. Users'
/// runtimes are not asked: they may name any folder of the node. Must be called in a tokio runtime.
pub(crate) async fn storages(wanted: &str, wait: Duration) -> Vec<Storage> {
    // What runtimes tell are paths of the node, so its own root is that of whoever asks.
    let roots = [PathBuf::from("/")];
    let mut asked = JoinSet::new();
    for runtime in docker::runtimes(&roots).into_iter().filter(docker::Runtime::is_of_the_node) {
        let wanted = wanted.to_owned();
        asked.spawn(async move { runtime.storage(&wanted).await });
    }
    let deadline = Instant::now() + wait;
    let mut found: Vec<Storage> = Vec::new();
    while let Ok(Some(answer)) = timeout_at(deadline, asked.join_next()).await {
        found.extend(answer.ok().flatten());
    }
    // Docker takes the shortest beginning of an id for one.
    found.retain(|found| select::is(&found.container, wanted));
    for stored in podman::storages(&roots, wanted).await {
        // Its service has said it already.
        if !found.iter().any(|known| known.container.id == stored.container.id) {
            found.push(stored);
        }
    }
    found
}

/// The name of a volume by where Docker and Podman keep volumes: `volumes/NAME/_data`.
pub(crate) fn volume_name(source: &Path) -> Option<String> {
    let folder = source.parent().filter(|_| source.ends_with("_data"))?;
    let is_volume = folder.parent()?.ends_with("volumes");
    folder.file_name().filter(|_| is_volume)?.to_str().map(str::to_owned)
}
