//! containerd and CRI-O: pods, names and images of containers by id, through the Container
//! Runtime Interface on the node's own socket. No API server is asked.
//!
//! A runtime that is not there, or goes away, is no error; it is looked for again.

mod api;

use std::{collections::HashMap, env, path::PathBuf, sync::Arc, time::Duration};

use tokio::{time, try_join};
use tonic::{Code, Status};

use self::api::{Api, ContainerStatus, Image, Listed, Sandbox};
use super::{Container, Pod, cgroup, containers::Containers};

/// How long until the list is read again, and until a lost stream of events is asked for again.
/// In between, ids that are wanted are asked for one by one.
const PAUSE: Duration = Duration::from_secs(15);

/// Where runtimes listen when nobody moves them: containerd, CRI-O, k3s and RKE2, k0s, MicroK8s.
const SOCKETS: [&str; 5] = [
    "run/containerd/containerd.sock",
    "run/crio/crio.sock",
    "run/k3s/containerd/containerd.sock",
    "run/k0s/containerd.sock",
    "var/snap/microk8s/common/run/containerd.sock",
];

/// One socket that may answer.
#[derive(Clone, Debug)]
pub(super) struct Runtime {
    socket: PathBuf,
    api: Api,
}

/// The sockets that may answer in any of these roots, the one that `CONTAINER_RUNTIME_ENDPOINT` names,
/// as for crictl, first.
pub(super) fn sockets(roots: &[PathBuf]) -> Vec<PathBuf> {
    let named = env::var("CONTAINER_RUNTIME_ENDPOINT").unwrap_or_default();
    let named = named.strip_prefix("unix://").unwrap_or(&named);
    let mut sockets = vec![PathBuf::from(named)];
    sockets.extend(roots.iter().flat_map(|root| SOCKETS.map(|socket| root.join(socket))));
    sockets.retain(|socket| socket.is_absolute());
    let repeated = sockets.iter().skip(1).position(|socket| Some(socket) == sockets.first());
    if let Some(position) = repeated {
        sockets.remove(position + 1);
    }
    sockets
}

/// The runtimes behind the sockets. Must be called in a tokio runtime.
pub(super) fn runtimes(roots: &[PathBuf]) -> Vec<Runtime> {
    let runtime = |socket: PathBuf| {
        let api = Api::at(&socket)
            .inspect_err(|error| tracing::warn!(%error, socket = %socket.display(), "no socket"))
            .ok()?;
        Some(Runtime { socket, api })
    };
    sockets(roots).into_iter().filter_map(runtime).collect()
}

impl Runtime {
    /// The names of a container, or of a pod's own (pause) container.
    pub(super) async fn inspect(&self, id: &str) -> Option<Container> {
        let found = self.find(id).await;
        found.unwrap_or_else(|status| {
            self.failed(&status, "no answer");
            None
        })
    }

    /// Learns what runs now and what starts later, again and again as the runtime comes and goes.
    pub(super) async fn watch(self, containers: Arc<Containers>) {
        tokio::join!(self.list_again(&containers), self.follow_again(&containers));
    }

    async fn find(&self, id: &str) -> Result<Option<Container>, Status> {
        let (runtime, listed) = try_join!(self.api.runtime_name(), self.api.containers(Some(id)))?;
        let listed = listed.into_iter().next();
        let sandbox = listed.as_ref().map_or(id, |listed| listed.sandbox_id.as_str());
        let sandbox = self.api.sandboxes(Some(sandbox)).await?.into_iter().next();
        match (listed, sandbox) {
            (Some(listed), sandbox) => {
                let status = self.status(listed).await;
                Ok(Some(container(&runtime, status, sandbox.as_ref())))
            }
            (None, sandbox) => Ok(sandbox.map(|sandbox| pause(&runtime, &sandbox))),
        }
    }

    /// The list has the image as the kubelet asked for it, which is by its hash; the status has a
    /// name. It is not there for an image that was removed since.
    async fn status(&self, listed: Listed) -> ContainerStatus {
        let Listed { id, metadata, image, .. } = listed;
        match self.api.status(&id).await {
            Ok(status) => ContainerStatus { id, ..status },
            Err(_status) => ContainerStatus { id, metadata, image },
        }
    }

    async fn list_again(&self, containers: &Containers) {
        loop {
            if let Err(status) = self.list(containers).await {
                self.failed(&status, "runtime not listed");
            }
            time::sleep(PAUSE).await;
        }
    }

    async fn list(&self, containers: &Containers) -> Result<(), Status> {
        let (runtime, listed, sandboxes) = try_join!(
            self.api.runtime_name(),
            self.api.containers(None),
            self.api.sandboxes(None)
        )?;
        let sandboxes: HashMap<_, _> =
            sandboxes.into_iter().map(|sandbox| (sandbox.id.clone(), sandbox)).collect();
        for sandbox in sandboxes.values().filter(|sandbox| !containers.knows(&sandbox.id)) {
            containers.learn(&sandbox.id, Some(pause(&runtime, sandbox)));
        }
        for listed in listed.into_iter().filter(|listed| !containers.knows(&listed.id)) {
            let sandbox = sandboxes.get(&listed.sandbox_id);
            let status = self.status(listed).await;
            containers.learn(&status.id.clone(), Some(container(&runtime, status, sandbox)));
        }
        Ok(())
    }

    async fn follow_again(&self, containers: &Containers) {
        loop {
            match self.follow(containers).await {
                // containerd before 1.7. The list must do.
                Err(status) if status.code() == Code::Unimplemented => return,
                Err(status) => self.failed(&status, "runtime not followed"),
                Ok(()) => {}
            }
            time::sleep(PAUSE).await;
        }
    }

    async fn follow(&self, containers: &Containers) -> Result<(), Status> {
        let runtime = self.api.runtime_name().await?;
        let mut events = self.api.events().await?;
        while let Some(event) = events.message().await? {
            for status in event.containers {
                let found = container(&runtime, status, event.sandbox.as_ref());
                let Some(id) = found.id.clone() else { continue };
                containers.learn(&id, Some(found));
            }
        }
        Ok(())
    }

    fn failed(&self, status: &Status, what: &str) {
        tracing::debug!(
            code = %status.code(),
            message = status.message(),
            socket = %self.socket.display(),
            "{what}"
        );
    }
}

fn container(runtime: &str, status: ContainerStatus, sandbox: Option<&Sandbox>) -> Container {
    let name = status.metadata.map(|metadata| metadata.name);
    Container {
        id: Some(status.id),
        name: name.clone(),
        runtime: Some(runtime.to_owned()),
        image: status.image.and_then(image_name),
        pod: sandbox.and_then(|sandbox| pod(sandbox, name)),
    }
}

/// The container that only holds a pod's namespaces. It has no name of its own.
fn pause(runtime: &str, sandbox: &Sandbox) -> Container {
    Container {
        id: Some(sandbox.id.clone()),
        runtime: Some(runtime.to_owned()),
        pod: pod(sandbox, None),
        ..Container::default()
    }
}

fn pod(sandbox: &Sandbox, container: Option<String>) -> Option<Pod> {
    let metadata = sandbox.metadata.clone()?;
    Some(Pod {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: Some(metadata.uid).filter(|uid| !uid.is_empty()),
        container,
    })
}

fn image_name(image: Image) -> Option<String> {
    let is_hash = |name: &str| cgroup::is_id(name.strip_prefix("sha256:").unwrap_or(name));
    [image.image, image.user_specified].into_iter().find(|name| !name.is_empty() && !is_hash(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_not_numbered() {
        let hash = "0123456789abcdef".repeat(4);
        let check = |image: &str, user_specified: &str, expect: Option<&str>| {
            let image = Image { image: image.into(), user_specified: user_specified.into() };
            assert_eq!(image_name(image).as_deref(), expect);
        };
        check("docker.io/library/web:1", "web:1", Some("docker.io/library/web:1"));
        check(&format!("sha256:{hash}"), "web:1", Some("web:1"));
        check(&hash, "", None);
        check("", "", None);
    }
}
