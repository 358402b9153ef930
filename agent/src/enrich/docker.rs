//! Docker, and Podman through the same API: names and images of containers by id.
//!
//! The only file that knows bollard. A runtime that is not there, or goes away, is no error; it
//! is looked for again.

use std::{
    collections::HashMap,
    env, fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    errors::Error,
    models::{ContainerInspectResponse, EventMessage},
    query_parameters::{
        EventsOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    },
};
use futures_util::StreamExt as _;
use tokio::time;

use super::{
    Container, Pod,
    containers::Containers,
    storage::{Mounted, Storage},
};

/// Seconds until a request is given up.
const TIMEOUT: u64 = 10;
/// How long until a runtime that is not there is looked for again.
const RETRY: Duration = Duration::from_secs(2);

/// One socket that may answer.
#[derive(Clone, Debug)]
pub(super) struct Runtime {
    name: &'static str,
    socket: PathBuf,
    owner: Owner,
}

/// Who runs a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Node,
    User,
}

/// Where Docker and Podman are looked for.
pub(super) fn sockets(roots: &[PathBuf]) -> Vec<PathBuf> {
    runtimes(roots).into_iter().map(|runtime| runtime.socket).collect()
}

/// The sockets that runtimes listen on in any of these roots, those of users' own daemons included.
pub(super) fn runtimes(roots: &[PathBuf]) -> Vec<Runtime> {
    let mut runtimes = Vec::new();
    let mut add = |owner, name, socket: PathBuf| {
        if !runtimes.iter().any(|known: &Runtime| known.socket == socket) {
            runtimes.push(Runtime { name, socket, owner });
        }
    };
    // As for the clients `docker` and `podman --remote`.
    for (name, variable) in [("podman", "CONTAINER_HOST"), ("docker", "DOCKER_HOST")] {
        let host = env::var(variable).unwrap_or_default();
        if let Some(socket) = host.strip_prefix("unix://") {
            add(Owner::Node, name, socket.into());
        }
    }
    for root in roots {
        add(Owner::Node, "docker", root.join("run/docker.sock"));
        add(Owner::Node, "podman", root.join("run/podman/podman.sock"));
    }
    for user in
        roots.iter().flat_map(|root| fs::read_dir(root.join("run/user"))).flatten().flatten()
    {
        add(Owner::User, "docker", user.path().join("docker.sock"));
        add(Owner::User, "podman", user.path().join("podman/podman.sock"));
    }
    runtimes
}

impl Runtime {
    /// Whether it is root's, or named by whoever started the agent.
    pub(super) fn is_of_the_node(&self) -> bool {
        self.owner == Owner::Node
    }

    /// The names of a container.
    pub(super) async fn inspect(&self, id: &str) -> Option<Container> {
        self.find(id).await.inspect_err(|error| self.failed(error, "no answer")).ok()
    }

    /// Where it keeps the files of a container of this name or id.
    pub(super) async fn storage(&self, wanted: &str) -> Option<Storage> {
        let found = self.inspected(wanted).await;
        let found = found.inspect_err(|error| self.failed(error, "no answer")).ok()?;
        let id = found.id.clone()?;
        let config = found.config.clone().unwrap_or_default();
        let labels = config.labels.unwrap_or_default();
        let container = self.container(&id, found.name.clone(), config.image, &labels);
        Some(storage(container, found))
    }

    /// Learns what runs now and what starts later, again and again as the runtime comes and goes.
    pub(super) async fn watch(self, containers: Arc<Containers>) {
        loop {
            if let Err(error) = self.follow(&containers).await {
                self.failed(&error, "runtime not followed");
            }
            time::sleep(RETRY).await;
        }
    }

    async fn connect(&self) -> Result<Docker, Error> {
        let socket = self.socket.to_string_lossy();
        if !self.socket.exists() {
            return Err(Error::SocketNotFoundError(socket.into_owned()));
        }
        Docker::connect_with_unix(&socket, TIMEOUT, API_DEFAULT_VERSION)?.negotiate_version().await
    }

    async fn inspected(&self, wanted: &str) -> Result<ContainerInspectResponse, Error> {
        let docker = self.connect().await?;
        docker.inspect_container(wanted, None::<InspectContainerOptions>).await
    }

    async fn find(&self, id: &str) -> Result<Container, Error> {
        let found = self.inspected(id).await?;
        let config = found.config.unwrap_or_default();
        Ok(self.container(id, found.name, config.image, &config.labels.unwrap_or_default()))
    }

    async fn follow(&self, containers: &Containers) -> Result<(), Error> {
        let docker = self.connect().await?;
        // From before the list, so that nothing starts in between unseen.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let options = ListContainersOptionsBuilder::default().build();
        for found in docker.list_containers(Some(options)).await? {
            let Some(id) = found.id else { continue };
            let name = found.names.unwrap_or_default().into_iter().next();
            let labels = found.labels.unwrap_or_default();
            self.note(&id, self.container(&id, name, found.image, &labels), containers);
        }
        let filters = HashMap::from([("type", vec!["container"])]);
        let options =
            EventsOptionsBuilder::default().since(&since.to_string()).filters(&filters).build();
        let mut events = std::pin::pin!(docker.events(Some(options)));
        while let Some(event) = events.next().await {
            self.learn(&event?, containers);
        }
        Ok(())
    }

    fn learn(&self, event: &EventMessage, containers: &Containers) {
        let named = matches!(event.action.as_deref(), Some("create" | "start" | "rename"));
        let Some(actor) = event.actor.as_ref().filter(|_| named) else {
            return;
        };
        let (Some(id), Some(attributes)) = (&actor.id, &actor.attributes) else {
            return;
        };
        let attribute = |key: &str| attributes.get(key).cloned();
        // The labels are among the attributes.
        let found = self.container(id, attribute("name"), attribute("image"), attributes);
        self.note(id, found, containers);
    }

    /// A user's daemon renames nothing that has a name: the id could be another's.
    fn note(&self, id: &str, found: Container, containers: &Containers) {
        if self.is_of_the_node() || !containers.knows(id) {
            containers.learn(id, Some(found));
        }
    }

    fn container(
        &self,
        id: &str,
        name: Option<String>,
        image: Option<String>,
        labels: &HashMap<String, String>,
    ) -> Container {
        Container {
            id: Some(id.to_owned()),
            name: name.map(|name| name.trim_start_matches('/').to_owned()),
            runtime: Some(self.name.to_owned()),
            // Podman runs directories too.
            image: image.filter(|image| !image.is_empty()),
            pod: pod(labels),
        }
    }

    fn failed(&self, error: &Error, what: &str) {
        tracing::debug!(%error, socket = %self.socket.display(), "{what}");
    }
}

fn storage(container: Container, found: ContainerInspectResponse) -> Storage {
    let (driver, data) =
        found.graph_driver.map(|graph| (graph.name, graph.data)).unwrap_or_default();
    let folder = |key: &str| data.get(key).filter(|path| path.starts_with('/'));
    // The files that every container gets are mounted too, but not listed.
    let own = [
        ("/etc/resolv.conf", found.resolv_conf_path),
        ("/etc/hostname", found.hostname_path),
        ("/etc/hosts", found.hosts_path),
    ];
    let own = own.into_iter().filter_map(|(point, source)| {
        let source = source.filter(|source| !source.is_empty())?;
        Some(Mounted {
            point: point.into(),
            kind: "bind".to_owned(),
            source: Some(source.into()),
            ..Mounted::default()
        })
    });
    let listed = found.mounts.unwrap_or_default().into_iter().filter_map(|mount| {
        Some(Mounted {
            point: mount.destination?.into(),
            kind: mount.typ.unwrap_or_default(),
            volume: mount.name.filter(|name| !name.is_empty()),
            source: mount.source.filter(|source| source.starts_with('/')).map(PathBuf::from),
            read_only: mount.rw == Some(false),
        })
    });
    let tmpfs = found.host_config.and_then(|config| config.tmpfs).unwrap_or_default();
    let tmpfs = tmpfs.into_keys().map(|point| Mounted {
        point: point.into(),
        kind: "tmpfs".to_owned(),
        ..Mounted::default()
    });
    Storage {
        container,
        running: found.state.and_then(|state| state.running) == Some(true),
        driver,
        merged: folder("MergedDir").map(PathBuf::from),
        upper: folder("UpperDir").map(PathBuf::from),
        lower: folder("LowerDir")
            .map(|folders| folders.split(':').map(PathBuf::from).collect())
            .unwrap_or_default(),
        mounts: own.chain(listed).chain(tmpfs).collect(),
    }
}

/// The pod of a container that a kubelet made through cri-dockerd, which notes it in labels.
fn pod(labels: &HashMap<String, String>) -> Option<Pod> {
    let label = |key: &str| labels.get(&format!("io.kubernetes.{key}")).cloned();
    Some(Pod {
        name: label("pod.name")?,
        namespace: label("pod.namespace")?,
        uid: label("pod.uid"),
        container: label("container.name"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_in_the_labels() {
        let labels = |list: &[(&str, &str)]| {
            list.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        let found = pod(&labels(&[
            ("io.kubernetes.pod.name", "web-0"),
            ("io.kubernetes.pod.namespace", "shop"),
            ("io.kubernetes.pod.uid", "u1"),
            ("io.kubernetes.container.name", "web"),
        ]));
        let expect = Pod {
            name: "web-0".into(),
            namespace: "shop".into(),
            uid: Some("u1".into()),
            container: Some("web".into()),
        };
        assert_eq!(found, Some(expect));
        assert_eq!(pod(&labels(&[("io.kubernetes.pod.name", "web-0")])), None);
    }
}
