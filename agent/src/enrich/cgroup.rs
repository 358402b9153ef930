//! Container ids in cgroup paths and in mount points.

use std::{borrow::Cow, path::Path};

use serde::{Deserialize, Serialize};

/// A container as a runtime numbers it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct ContainerId {
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    /// The runtime, where the path's form tells.
    pub(crate) runtime: Option<Cow<'static, str>>,
}

/// What precedes the id in a path element, and the runtime that writes it so.
const PREFIXES: [(&str, Option<&str>); 5] = [
    ("docker-", Some("docker")),
    ("libpod-", Some("podman")),
    ("cri-containerd-", Some("containerd")),
    ("crio-", Some("cri-o")),
    ("", None),
];

/// The id in the text of /proc/PID/cgroup, of cgroup v1 or v2 (cgroups(7)): the innermost one, as
/// containers may run in containers.
pub(crate) fn from_cgroup(cgroup: &str) -> Option<ContainerId> {
    cgroup
        .lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .find_map(|path| from_elements(path.rsplit('/')))
}

fn from_elements<'a>(mut elements: impl Iterator<Item = &'a str>) -> Option<ContainerId> {
    let mut found = elements.by_ref().find_map(element)?;
    if found.runtime.is_none() {
        // cgroupfs driver: /docker/ID, /libpod/ID; under Kubernetes the parent is a pod.
        found.runtime = match elements.next() {
            Some("docker") => Some("docker".into()),
            Some("libpod" | "libpod_parent") => Some("podman".into()),
            _ => None,
        };
    }
    Some(found)
}

fn element(element: &str) -> Option<ContainerId> {
    let name = element.strip_suffix(".scope").unwrap_or(element);
    PREFIXES.into_iter().find_map(|(prefix, runtime)| {
        let id = name.strip_prefix(prefix)?;
        is_id(id).then(|| ContainerId { id: id.to_owned(), runtime: runtime.map(Cow::Borrowed) })
    })
}

/// The id in the source of a file that the runtime mounts into its containers, for processes
/// whose cgroup path is hidden: `/var/lib/docker/containers/ID/resolv.conf` and its like.
pub(crate) fn from_mount_root(root: &Path) -> Option<ContainerId> {
    let path = root.to_str()?;
    let runtime = match path {
        _ if path.contains("/docker/") => Some("docker"),
        _ if path.contains("/overlay-containers/") || path.contains("/libpod/") => Some("podman"),
        _ => None,
    };
    let marked = path.contains("/containers/") || path.contains("-containers/");
    let id = path.split('/').find(|element| is_id(element)).filter(|_| marked)?;
    Some(ContainerId { id: id.to_owned(), runtime: runtime.map(Cow::Borrowed) })
}

/// Whether this is how runtimes number containers and images: 64 hexadecimal digits.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

    fn check(cgroup: &str, expect: Option<(&str, Option<&str>)>) {
        let found = from_cgroup(&cgroup.replace("ID", ID).replace("OUTER", OTHER));
        let found =
            found.as_ref().map(|container| (container.id.as_str(), container.runtime.as_deref()));
        assert_eq!(found, expect, "{cgroup}");
    }

    #[test]
    fn cgroup_paths() {
        check("0::/docker/ID", Some((ID, Some("docker"))));
        check("12:pids:/docker/ID\n0::/", Some((ID, Some("docker"))));
        check("0::/system.slice/docker-ID.scope", Some((ID, Some("docker"))));
        check("0::/docker/OUTER/docker/ID", Some((ID, Some("docker"))));
        check("0::/machine.slice/libpod-ID.scope/container", Some((ID, Some("podman"))));
        check("0::/libpod_parent/libpod-ID", Some((ID, Some("podman"))));
        check("0::/kubepods/burstable/pod1234/ID", Some((ID, None)));
        check(
            "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope",
            Some((ID, Some("containerd"))),
        );
        check("1:name=systemd:/../../ID", Some((ID, None)));
        check("0::/system.slice/nginx.service", None);
        check("0::/docker/IDff", None);
        check("garbage", None);
    }

    #[test]
    fn mount_roots() {
        let root = format!("/var/lib/docker/containers/{ID}/resolv.conf");
        let expect = ContainerId { id: ID.to_owned(), runtime: Some("docker".into()) };
        assert_eq!(from_mount_root(Path::new(&root)), Some(expect));
        assert_eq!(from_mount_root(Path::new(&format!("/srv/{ID}/x"))), None);
    }
}
