//! The part of the Kubernetes Container Runtime Interface that names need: calls in, answers out.
//!
//! The only file that knows tonic and prost. The messages hold the few fields that are read, by
//! the numbers of k8s.io/cri-api (runtime.v1), so that no protobuf compiler is needed to build.

use std::{path::Path, time::Duration};

use http::uri::PathAndQuery;
use prost::Message;
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint, Error},
};
use tonic_prost::ProstCodec;

/// How long until a request is given up.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A node's whole list in one message, as the kubelet allows it.
const MESSAGE_LIMIT: usize = 16 << 20;

/// A runtime's socket; connected when it is used, and again when the connection is lost.
#[derive(Clone, Debug)]
pub(super) struct Api {
    grpc: Grpc<Channel>,
}

impl Api {
    /// Must be called in a tokio runtime.
    pub(super) fn at(socket: &Path) -> Result<Self, Error> {
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display()))?;
        let grpc = Grpc::new(endpoint.connect_timeout(TIMEOUT).connect_lazy());
        Ok(Self { grpc: grpc.max_decoding_message_size(MESSAGE_LIMIT) })
    }

    /// What the runtime calls itself: `containerd`, `cri-o`.
    pub(super) async fn runtime_name(&self) -> Result<String, Status> {
        const PATH: &str = "/runtime.v1.RuntimeService/Version";
        let answer: VersionAnswer = self.ask(PATH, VersionQuestion {}).await?;
        Ok(answer.runtime_name)
    }

    /// All containers, or the one with this id if there is one.
    pub(super) async fn containers(&self, id: Option<&str>) -> Result<Vec<Listed>, Status> {
        const PATH: &str = "/runtime.v1.RuntimeService/ListContainers";
        let answer: Containers = self.ask(PATH, Filter::of(id)).await?;
        Ok(answer.containers)
    }

    /// All pods, or the one with this id if there is one.
    pub(super) async fn sandboxes(&self, id: Option<&str>) -> Result<Vec<Sandbox>, Status> {
        const PATH: &str = "/runtime.v1.RuntimeService/ListPodSandbox";
        let answer: Sandboxes = self.ask(PATH, Filter::of(id)).await?;
        Ok(answer.items)
    }

    /// More about a container than the list has: the image by name.
    pub(super) async fn status(&self, id: &str) -> Result<ContainerStatus, Status> {
        const PATH: &str = "/runtime.v1.RuntimeService/ContainerStatus";
        let answer: StatusAnswer =
            self.ask(PATH, StatusQuestion { container_id: id.to_owned() }).await?;
        answer.status.ok_or_else(|| Status::not_found("no status"))
    }

    /// What happens to containers from now on. Completes at the first event, as runtimes send
    /// nothing before, and at once where the runtime has no events.
    pub(super) async fn events(&self) -> Result<Streaming<Event>, Status> {
        const PATH: &str = "/runtime.v1.RuntimeService/GetContainerEvents";
        let mut grpc = self.ready().await?;
        let path = PathAndQuery::from_static(PATH);
        let request = Request::new(EventsQuestion {});
        let answer = grpc
            .server_streaming(request, path, ProstCodec::<EventsQuestion, Event>::default())
            .await?;
        Ok(answer.into_inner())
    }

    async fn ask<Q, A>(&self, path: &'static str, question: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.ready().await?;
        let mut request = Request::new(question);
        request.set_timeout(TIMEOUT);
        let path = PathAndQuery::from_static(path);
        let answer = grpc.unary(request, path, ProstCodec::<Q, A>::default()).await?;
        Ok(answer.into_inner())
    }

    async fn ready(&self) -> Result<Grpc<Channel>, Status> {
        let mut grpc = self.grpc.clone();
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(grpc)
    }
}

#[derive(Clone, PartialEq, Message)]
struct VersionQuestion {}

#[derive(Clone, PartialEq, Message)]
struct VersionAnswer {
    #[prost(string, tag = "2")]
    runtime_name: String,
}

/// `ListContainersRequest` and `ListPodSandboxRequest` alike.
#[derive(Clone, PartialEq, Message)]
struct Filter {
    #[prost(message, optional, tag = "1")]
    filter: Option<ById>,
}

#[derive(Clone, PartialEq, Message)]
struct ById {
    #[prost(string, tag = "1")]
    id: String,
}

impl Filter {
    fn of(id: Option<&str>) -> Self {
        Self { filter: id.map(|id| ById { id: id.to_owned() }) }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Containers {
    #[prost(message, repeated, tag = "1")]
    containers: Vec<Listed>,
}

/// A container in a list.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Listed {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(string, tag = "2")]
    pub(super) sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    pub(super) metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "4")]
    pub(super) image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Image {
    #[prost(string, tag = "1")]
    pub(super) image: String,
    /// As the pod's specification has it; runtimes of CRI 0.29 and later.
    #[prost(string, tag = "18")]
    pub(super) user_specified: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sandboxes {
    #[prost(message, repeated, tag = "1")]
    items: Vec<Sandbox>,
}

/// A pod. `PodSandbox` and `PodSandboxStatus` alike.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Sandbox {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<SandboxMetadata>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SandboxMetadata {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) uid: String,
    #[prost(string, tag = "3")]
    pub(super) namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct StatusQuestion {
    #[prost(string, tag = "1")]
    container_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct StatusAnswer {
    #[prost(message, optional, tag = "1")]
    status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ContainerStatus {
    #[prost(string, tag = "1")]
    pub(super) id: String,
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "8")]
    pub(super) image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
struct EventsQuestion {}

/// Something happened to a container of a pod; the answer holds all of the pod.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(message, optional, tag = "4")]
    pub(super) sandbox: Option<Sandbox>,
    #[prost(message, repeated, tag = "5")]
    pub(super) containers: Vec<ContainerStatus>,
}
