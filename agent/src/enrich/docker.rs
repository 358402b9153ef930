//! Docker, and Podman through the same API: names and images of containers by id.
//!
//! The only file that knows bollard. A runtime that is not there, or goes away, is no error; it
//! is looked for again.

use std::{
    collections::HashMap,
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bollard::{
    API_DEFAULT_VERSION, Docker,
    errors::Error,
    models::EventMessage,
    query_parameters::{
        EventsOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    },
};
use futures_util::StreamExt as _;
use tokio::{sync::mpsc, task::JoinSet, time};

use super::{Container, containers::Containers};

/// Seconds until a request is given up.
const TIMEOUT: u64 = 10;
/// How long until a runtime that is not there is looked for again.
const RETRY: Duration = Duration::from_secs(2);

/// One socket that may answer.
#[derive(Clone, Debug)]
struct Runtime {
    name: &'static str,
    socket: PathBuf,
}

/// Answers for the ids that are wanted, and learns the names of new containers before they are.
/// Runs until dropped.
pub(crate) async fn serve(
    containers: Arc<Containers>,
    mut wanted: mpsc::UnboundedReceiver<String>,
) {
    let runtimes = runtimes();
    let mut watches = JoinSet::new();
    for runtime in runtimes.clone() {
        watches.spawn(watch(runtime, Arc::clone(&containers)));
    }
    let mut lookups = JoinSet::new();
    while let Some(id) = wanted.recv().await {
        lookups.spawn(answer(runtimes.clone(), id, Arc::clone(&containers)));
        while lookups.try_join_next().is_some() {}
    }
}

/// Where runtimes are looked for.
pub fn runtime_sockets() -> Vec<PathBuf> {
    runtimes().into_iter().map(|runtime| runtime.socket).collect()
}

/// The sockets that runtimes listen on, those of users' own daemons included.
fn runtimes() -> Vec<Runtime> {
    let named = env::var("DOCKER_HOST").ok();
    let named = named.as_deref().and_then(|host| host.strip_prefix("unix://"));
    let mut runtimes: Vec<Runtime> = named
        .into_iter()
        .chain(["/run/docker.sock"])
        .map(|socket| Runtime { name: "docker", socket: socket.into() })
        .collect();
    runtimes.push(Runtime { name: "podman", socket: "/run/podman/podman.sock".into() });
    let users = fs::read_dir("/run/user").into_iter().flatten().flatten();
    for user in users {
        let of_user = |socket: &str| user.path().join(socket);
        runtimes.push(Runtime { name: "docker", socket: of_user("docker.sock") });
        runtimes.push(Runtime { name: "podman", socket: of_user("podman/podman.sock") });
    }
    runtimes.dedup_by(|a, b| a.socket == b.socket);
    runtimes
}

async fn answer(runtimes: Vec<Runtime>, id: String, containers: Arc<Containers>) {
    for runtime in &runtimes {
        match inspect(runtime, &id).await {
            Ok(container) => return containers.learn(&id, Some(container)),
            Err(error) => tracing::debug!(%error, socket = %runtime.socket.display(), "no answer"),
        }
    }
    containers.learn(&id, None);
}

async fn connect(runtime: &Runtime) -> Result<Docker, Error> {
    let socket = runtime.socket.to_string_lossy();
    if !Path::new(&*socket).exists() {
        return Err(Error::SocketNotFoundError(socket.into_owned()));
    }
    Docker::connect_with_unix(&socket, TIMEOUT, API_DEFAULT_VERSION)?.negotiate_version().await
}

async fn inspect(runtime: &Runtime, id: &str) -> Result<Container, Error> {
    let docker = connect(runtime).await?;
    let found = docker.inspect_container(id, None::<InspectContainerOptions>).await?;
    let image = found.config.and_then(|config| config.image);
    Ok(container(runtime, id, found.name, image))
}

fn container(
    runtime: &Runtime,
    id: &str,
    name: Option<String>,
    image: Option<String>,
) -> Container {
    Container {
        id: Some(id.to_owned()),
        name: name.map(|name| name.trim_start_matches('/').to_owned()),
        runtime: Some(runtime.name.to_owned()),
        image,
    }
}

/// Learns what runs now and what starts later, again and again as the runtime comes and goes.
async fn watch(runtime: Runtime, containers: Arc<Containers>) {
    loop {
        if let Err(error) = follow(&runtime, &containers).await {
            tracing::debug!(%error, socket = %runtime.socket.display(), "runtime not followed");
        }
        time::sleep(RETRY).await;
    }
}

async fn follow(runtime: &Runtime, containers: &Containers) -> Result<(), Error> {
    let docker = connect(runtime).await?;
    // From before the list, so that nothing starts in between unseen.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let options = ListContainersOptionsBuilder::default().build();
    for found in docker.list_containers(Some(options)).await? {
        let Some(id) = found.id else { continue };
        let name = found.names.unwrap_or_default().into_iter().next();
        containers.learn(&id, Some(container(runtime, &id, name, found.image)));
    }
    let filters = HashMap::from([("type", vec!["container"])]);
    let options =
        EventsOptionsBuilder::default().since(&since.to_string()).filters(&filters).build();
    let mut events = std::pin::pin!(docker.events(Some(options)));
    while let Some(event) = events.next().await {
        learn(runtime, &event?, containers);
    }
    Ok(())
}

fn learn(runtime: &Runtime, event: &EventMessage, containers: &Containers) {
    let named = matches!(event.action.as_deref(), Some("create" | "start" | "rename"));
    let Some(actor) = event.actor.as_ref().filter(|_| named) else {
        return;
    };
    let (Some(id), Some(attributes)) = (&actor.id, &actor.attributes) else {
        return;
    };
    let attribute = |key: &str| attributes.get(key).cloned();
    let found = container(runtime, id, attribute("name"), attribute("image"));
    containers.learn(id, Some(found));
}
