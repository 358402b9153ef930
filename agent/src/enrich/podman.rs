//! Podman without a service: names and images of containers by id, from the file in which
//! root's Podman keeps them. Podman needs no daemon, so most nodes run none.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use serde::Deserialize;
use tokio::task;

use super::Container;

/// Where Podman keeps its containers when storage.conf does not move them: those that stay, and
/// those that go with the next start of the machine.
const FILES: [&str; 2] = [
    "/var/lib/containers/storage/overlay-containers/containers.json",
    "/run/containers/storage/overlay-containers/volatile-containers.json",
];

/// Most bytes read of a file: tens of thousands of containers.
const LIMIT: u64 = 16 << 20;

/// One container of the storage, with the fields that are read.
#[derive(Deserialize)]
struct Stored {
    id: String,
    /// JSON within the JSON.
    metadata: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata {
    name: Option<String>,
    image_name: Option<String>,
    /// CRI-O has the same storage, and says it all itself.
    pod_name: Option<String>,
}

/// The names of a container.
pub(super) async fn inspect(id: &str) -> Option<Container> {
    let id = id.to_owned();
    let find = move || FILES.iter().find_map(|file| find(Path::new(file), &id));
    task::spawn_blocking(find).await.ok()?
}

fn find(file: &Path, id: &str) -> Option<Container> {
    let stored = read(file)
        .inspect_err(|error| tracing::debug!(%error, file = %file.display(), "not read"))
        .ok()?;
    let metadata = stored.into_iter().find(|stored| stored.id == id)?.metadata;
    let metadata: Metadata = serde_json::from_str(&metadata).ok()?;
    if metadata.pod_name.is_some() {
        return None;
    }
    Some(Container {
        id: Some(id.to_owned()),
        name: metadata.name,
        runtime: Some("podman".to_owned()),
        image: metadata.image_name.filter(|name| !name.is_empty()),
        pod: None,
    })
}

fn read(file: &Path) -> io::Result<Vec<Stored>> {
    let mut text = Vec::new();
    File::open(file)?.take(LIMIT).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_storage() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("containers.json");
        // As Podman 4.3 writes it, and CRI-O.
        let text = r#"[{"id":"1","names":["web"],"layer":"x",
            "metadata":"{\"image-name\":\"localhost/web:1\",\"image-id\":\"3b\",\"name\":\"web\",\"created-at\":5}"},
            {"id":"2","metadata":"{\"image-name\":\"\",\"name\":\"rootfs\"}"},
            {"id":"3","metadata":"{\"pod-name\":\"k8s_web\",\"name\":\"web\"}"}]"#;
        std::fs::write(&file, text).unwrap();
        let named = |id: &str| find(&file, id).map(|found| (found.name, found.image));
        let web = (Some("web".to_owned()), Some("localhost/web:1".to_owned()));
        assert_eq!(named("1"), Some(web));
        assert_eq!(named("2"), Some((Some("rootfs".to_owned()), None)));
        assert_eq!(named("3"), None);
        assert_eq!(named("4"), None);
        assert_eq!(find(Path::new("/nonexistent"), "1"), None);
    }
}
