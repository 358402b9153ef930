//! Ids that are wanted in; names out, from whichever container runtime knows them.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio::{sync::mpsc, task::JoinSet};

use super::{Container, containers::Containers, cri, docker, podman};
use crate::discover;

/// Where runtimes are looked for.
pub fn runtime_sockets(proc: &Path) -> Vec<PathBuf> {
    let roots = discover::roots(proc);
    docker::sockets(&roots).into_iter().chain(cri::sockets(&roots)).collect()
}

/// Answers for the ids that are wanted, and learns the names of new containers before they are.
/// Runs until dropped.
pub(super) async fn serve(
    proc: PathBuf,
    containers: Arc<Containers>,
    mut wanted: mpsc::UnboundedReceiver<String>,
) {
    let roots: Arc<[PathBuf]> = discover::roots(&proc).into();
    let pods = cri::runtimes(&roots);
    let mut watches = JoinSet::new();
    for runtime in docker::runtimes(&roots) {
        watches.spawn(runtime.watch(Arc::clone(&containers)));
    }
    for runtime in pods.clone() {
        watches.spawn(runtime.watch(Arc::clone(&containers)));
    }
    let mut lookups = JoinSet::new();
    while let Some(id) = wanted.recv().await {
        lookups.spawn(answer(Arc::clone(&roots), pods.clone(), id, Arc::clone(&containers)));
        while lookups.try_join_next().is_some() {}
    }
}

/// The node's own runtimes are asked first: users' ones may claim what they like.
async fn answer(
    roots: Arc<[PathBuf]>,
    pods: Vec<cri::Runtime>,
    id: String,
    containers: Arc<Containers>,
) {
    // Looked for anew, as users' daemons come with their sessions.
    let (system, users): (Vec<_>, Vec<_>) =
        docker::runtimes(&roots).into_iter().partition(docker::Runtime::is_of_the_node);
    let mut asked = JoinSet::new();
    for runtime in pods {
        let id = id.clone();
        asked.spawn(async move { runtime.inspect(&id).await });
    }
    ask(&mut asked, system, &id);
    let mut found = first(asked).await;
    if found.is_none() {
        found = podman::inspect(&roots, &id).await;
    }
    if found.is_none() {
        let mut asked = JoinSet::new();
        ask(&mut asked, users, &id);
        found = first(asked).await;
    }
    containers.learn(&id, found);
}

fn ask(asked: &mut JoinSet<Option<Container>>, runtimes: Vec<docker::Runtime>, id: &str) {
    for runtime in runtimes {
        let id = id.to_owned();
        asked.spawn(async move { runtime.inspect(&id).await });
    }
}

/// The first answer: a runtime that hangs must not keep another's back.
async fn first(mut asked: JoinSet<Option<Container>>) -> Option<Container> {
    while let Some(answer) = asked.join_next().await {
        if let Ok(Some(found)) = answer {
            return Some(found);
        }
    }
    None
}
