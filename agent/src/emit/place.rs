//! Where a process lives, in a word for people.

use std::borrow::Cow;

use crate::enrich::Container;

/// `host`; the container as `namespace/pod/container`, or by its name, or by the short form of
/// its id, as Docker shows it. It may hold any bytes.
pub(super) fn place(container: Option<&Container>) -> Cow<'_, str> {
    let Some(container) = container else {
        return "host".into();
    };
    if let Some(pod) = &container.pod {
        let parts = [Some(pod.namespace.as_str()), Some(&pod.name), pod.container.as_deref()];
        return parts.into_iter().flatten().collect::<Vec<_>>().join("/").into();
    }
    container.name.as_deref().or(container.short_id()).unwrap_or("?").into()
}
