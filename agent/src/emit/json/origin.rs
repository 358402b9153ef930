//! Who moved the bytes: process, thread, container, library.

use std::borrow::Cow;

use serde::Serialize;

use super::network::Network;
use crate::{
    capture::Direction,
    enrich::{Container, Library, Process, Record},
};

/// The process.
#[derive(Serialize)]
pub(super) struct Owner<'a> {
    process: ProcessJson<'a>,
}

/// The thread.
#[derive(Serialize)]
pub(super) struct Caller<'a> {
    thread: Thread<'a>,
}

/// Where the process is, and what it used.
#[derive(Serialize)]
pub(super) struct Place<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<ContainerJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k8s: Option<K8s<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
    network: Network<'a>,
}

impl<'a> Owner<'a> {
    pub(super) fn of(record: &'a Record) -> Self {
        Self { process: ProcessJson::of(&record.process) }
    }
}

impl<'a> Caller<'a> {
    pub(super) fn of(record: &'a Record) -> Self {
        let call = &record.message.call;
        Self { thread: Thread { id: call.tid, name: call.thread_name() } }
    }
}

impl<'a> Place<'a> {
    pub(super) fn of(record: &'a Record, direction: Option<Direction>) -> Self {
        Self {
            container: record.container.as_deref().map(ContainerJson::of),
            k8s: K8s::of(record.container.as_deref()),
            tls: record.tls.as_deref().map(Tls::of),
            network: Network::of(record, direction),
        }
    }
}

#[derive(Serialize)]
pub(super) struct ProcessJson<'a> {
    pub(super) pid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) executable: Option<Executable<'a>>,
}

#[derive(Serialize)]
pub(super) struct Executable<'a> {
    pub(super) path: &'a str,
}

#[derive(Serialize)]
pub(super) struct Thread<'a> {
    pub(super) id: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) name: Cow<'a, str>,
}

#[derive(Serialize)]
pub(super) struct ContainerJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) runtime: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<Image<'a>>,
}

#[derive(Serialize)]
pub(super) struct Image<'a> {
    pub(super) name: &'a str,
}

#[derive(Serialize)]
pub(super) struct Tls<'a> {
    pub(super) library: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) version: Option<&'a str>,
    pub(super) path: &'a str,
}

/// Where a container is in Kubernetes.
#[derive(Serialize)]
pub(super) struct K8s<'a> {
    namespace: Named<'a>,
    pod: PodJson<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Named<'a>>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct PodJson<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'a str>,
}

impl<'a> ProcessJson<'a> {
    pub(super) fn of(process: &'a Process) -> Self {
        Self {
            pid: process.pid,
            command: process.command.as_deref(),
            executable: process.executable.as_deref().map(|path| Executable { path }),
        }
    }
}

impl<'a> ContainerJson<'a> {
    pub(super) fn of(container: &'a Container) -> Self {
        Self {
            id: container.id.as_deref(),
            name: container.name.as_deref(),
            runtime: container.runtime.as_deref(),
            image: container.image.as_deref().map(|name| Image { name }),
        }
    }
}

impl<'a> K8s<'a> {
    pub(super) fn of(container: Option<&'a Container>) -> Option<Self> {
        let pod = container?.pod.as_ref()?;
        Some(Self {
            namespace: Named { name: &pod.namespace },
            pod: PodJson { name: &pod.name, uid: pod.uid.as_deref() },
            container: pod.container.as_deref().map(|name| Named { name }),
        })
    }
}

impl<'a> Tls<'a> {
    pub(super) fn of(library: &'a Library) -> Self {
        Self { library: &library.name, version: library.version.as_deref(), path: &library.path }
    }
}
