//! Where a request was made: the names that a container runtime gave.

use super::request::{Labels, OTHER};
use crate::enrich::Container;

/// Characters of a name; Kubernetes allows as many bytes.
const LENGTH: usize = 253;

/// A container as labels name it. On the host all names are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Place {
    container: String,
    namespace: String,
    pod: String,
}

impl Place {
    pub(super) fn of(container: Option<&Container>) -> Self {
        let Some(container) = container else { return Self::default() };
        let name = container.name.as_deref().or(container.short_id()).unwrap_or_default();
        match &container.pod {
            Some(pod) => Self {
                container: bounded(pod.container.as_deref().unwrap_or(name)),
                namespace: bounded(&pod.namespace),
                pod: bounded(&pod.name),
            },
            None => Self { container: bounded(name), ..Self::default() },
        }
    }

    /// All those for which there is no room.
    pub(super) fn others() -> Self {
        Self { container: OTHER.to_owned(), ..Self::default() }
    }

    pub(super) fn labels(&self) -> Labels {
        vec![
            ("container_name", self.container.clone().into()),
            ("k8s_namespace_name", self.namespace.clone().into()),
            ("k8s_pod_name", self.pod.clone().into()),
        ]
    }
}

fn bounded(name: &str) -> String {
    name.chars().take(LENGTH).collect()
}
