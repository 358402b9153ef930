//! The calls of the Container Runtime Interface (runtime.v1) that a kubelet makes to run a pod.
//!
//! Messages hold the fields that the tests need, by the numbers of k8s.io/cri-api.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use http::uri::PathAndQuery;
use prost::Message;
use tokio::runtime::Runtime;
use tonic::{
    Request,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

const LIMIT: Duration = Duration::from_secs(60);

/// Network namespace of the node.
const NODE: i32 = 2;

/// A client of a runtime's socket; each call waits for its answer.
pub(super) struct Client {
    runtime: Runtime,
    grpc: Grpc<Channel>,
}

impl Client {
    pub(super) fn connect(socket: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        let channel = runtime.block_on(async { endpoint.connect_lazy() });
        Ok(Self { runtime, grpc: Grpc::new(channel) })
    }

    /// Whether pods can be run.
    pub(super) fn answers(&self) -> bool {
        self.ask::<_, Version>("Version", Version::default()).is_ok()
    }

    /// The ids of all pods.
    pub(super) fn pods(&self) -> Result<Vec<String>> {
        let pods: Sandboxes = self.ask("ListPodSandbox", Nothing {})?;
        Ok(pods.items.into_iter().map(|pod| pod.id).collect())
    }

    /// Starts a pod in the node's network; its id.
    pub(super) fn run_pod(&self, config: &PodConfig) -> Result<String> {
        let config = Some(config.clone());
        let Id { id } = self.ask("RunPodSandbox", RunPod { config })?;
        Ok(id)
    }

    /// Starts a container in a pod; its id.
    pub(super) fn run_container(
        &self,
        pod: &str,
        pod_config: &PodConfig,
        config: ContainerConfig,
    ) -> Result<String> {
        let question = CreateContainer {
            pod: pod.to_owned(),
            config: Some(config),
            pod_config: Some(pod_config.clone()),
        };
        let Id { id } = self.ask("CreateContainer", question)?;
        let _: Nothing = self.ask("StartContainer", Id { id: id.clone() })?;
        Ok(id)
    }

    /// Runs a command in a container to its successful end; its stdout.
    pub(super) fn exec(&self, container: &str, command: &[&str]) -> Result<String> {
        let command = command.iter().map(ToString::to_string).collect();
        let question = Exec { container: container.to_owned(), command };
        let answer: Output = self.ask("ExecSync", question)?;
        let stderr = String::from_utf8_lossy(&answer.stderr);
        ensure!(answer.status == 0, "the command ended with {}: {stderr}", answer.status);
        Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
    }

    /// Ends a pod with all its containers.
    pub(super) fn remove_pod(&self, pod: &str) -> Result<()> {
        let _: Nothing = self.ask("StopPodSandbox", Id { id: pod.to_owned() })?;
        let _: Nothing = self.ask("RemovePodSandbox", Id { id: pod.to_owned() })?;
        Ok(())
    }

    fn ask<Q, A>(&self, method: &str, question: Q) -> Result<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path = PathAndQuery::try_from(format!("/runtime.v1.RuntimeService/{method}"))?;
        let mut grpc = self.grpc.clone();
        let mut request = Request::new(question);
        request.set_timeout(LIMIT);
        let answer = self.runtime.block_on(async {
            grpc.ready().await?;
            let codec = ProstCodec::<Q, A>::default();
            anyhow::Ok(grpc.unary(request, path, codec).await?)
        });
        Ok(answer.with_context(|| format!("failed to call {method}"))?.into_inner())
    }
}

/// Every request and answer of which nothing is told or read.
#[derive(Clone, PartialEq, Message)]
struct Nothing {}

/// Every request and answer that is an id.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Version {
    #[prost(string, tag = "1")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sandboxes {
    #[prost(message, repeated, tag = "1")]
    items: Vec<Id>,
}

#[derive(Clone, PartialEq, Message)]
struct RunPod {
    #[prost(message, optional, tag = "1")]
    config: Option<PodConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PodConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<PodMetadata>,
    #[prost(string, tag = "3")]
    log_folder: String,
    #[prost(btree_map = "string, string", tag = "6")]
    labels: BTreeMap<String, String>,
    #[prost(message, optional, tag = "8")]
    linux: Option<PodLinux>,
}

#[derive(Clone, PartialEq, Message)]
struct PodMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct PodLinux {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    security: Option<PodSecurity>,
}

/// Of a pod or of a container: both have the namespaces, under different numbers.
#[derive(Clone, PartialEq, Message)]
struct PodSecurity {
    #[prost(message, optional, tag = "1")]
    namespaces: Option<Namespaces>,
}

#[derive(Clone, PartialEq, Message)]
struct Namespaces {
    #[prost(int32, tag = "1")]
    network: i32,
}

impl PodConfig {
    pub(super) fn new(name: &str, namespace: &str, uid: &str, cgroup_parent: &str) -> Self {
        let metadata =
            PodMetadata { name: name.into(), uid: uid.into(), namespace: namespace.into() };
        let security = PodSecurity { namespaces: Some(Namespaces { network: NODE }) };
        Self {
            metadata: Some(metadata),
            log_folder: String::new(),
            labels: BTreeMap::from([("app".to_owned(), name.to_owned())]),
            linux: Some(PodLinux {
                cgroup_parent: cgroup_parent.to_owned(),
                security: Some(security),
            }),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainer {
    #[prost(string, tag = "1")]
    pod: String,
    #[prost(message, optional, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    pod_config: Option<PodConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    metadata: Option<Id>,
    #[prost(message, optional, tag = "2")]
    image: Option<Id>,
    #[prost(string, repeated, tag = "3")]
    command: Vec<String>,
    #[prost(message, optional, tag = "15")]
    linux: Option<ContainerLinux>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerLinux {
    #[prost(message, optional, tag = "2")]
    security: Option<ContainerSecurity>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerSecurity {
    #[prost(message, optional, tag = "3")]
    namespaces: Option<Namespaces>,
}

impl ContainerConfig {
    pub(super) fn new(name: &str, image: &str, command: &[&str]) -> Self {
        let security = ContainerSecurity { namespaces: Some(Namespaces { network: NODE }) };
        Self {
            // A name is where an id would be.
            metadata: Some(Id { id: name.to_owned() }),
            image: Some(Id { id: image.to_owned() }),
            command: command.iter().map(ToString::to_string).collect(),
            linux: Some(ContainerLinux { security: Some(security) }),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Exec {
    #[prost(string, tag = "1")]
    container: String,
    #[prost(string, repeated, tag = "2")]
    command: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Output {
    #[prost(bytes = "vec", tag = "1")]
    stdout: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    stderr: Vec<u8>,
    #[prost(int32, tag = "3")]
    status: i32,
}
