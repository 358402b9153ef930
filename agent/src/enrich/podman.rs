//! Podman without a service: names, images and files of containers, from the storage in which root's
//! Podman keeps them. Podman needs no daemon, so most nodes run none.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};
use tokio::task;

use super::{
    Container,
    storage::{Mounted, Storage, volume_name},
};
use crate::select;

/// Where Podman keeps its containers when storage.conf does not move them: those that stay, and
/// those that go with the next start of the machine.
const FILES: [&str; 2] = [
    "var/lib/containers/storage/overlay-containers/containers.json",
    "run/containers/storage/overlay-containers/volatile-containers.json",
];

/// Most bytes read of a file: tens of thousands of containers.
const LIMIT: u64 = 16 << 20;

/// One container of the storage, with the fields that are read.
#[derive(Deserialize)]
struct Stored {
    id: String,
    /// The container's own layer.
    #[serde(default)]
    layer: String,
    /// JSON within the JSON.
    metadata: String,
}

/// What the container was last started with (the configuration of the OCI runtime specification).
#[derive(Deserialize)]
struct Started {
    #[serde(default)]
    mounts: Vec<StartedMount>,
}

#[derive(Deserialize)]
struct StartedMount {
    destination: PathBuf,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    source: PathBuf,
    #[serde(default)]
    options: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Metadata {
    name: Option<String>,
    image_name: Option<String>,
    /// CRI-O has the same storage, and says it all itself.
    pod_name: Option<String>,
}

/// The names of a container that is stored in one of these roots.
pub(super) async fn inspect(roots: &[PathBuf], id: &str) -> Option<Container> {
    let id = id.to_owned();
    let files = files(roots);
    task::spawn_blocking(move || files.iter().find_map(|file| find(file, &id))).await.ok()?
}

fn files(roots: &[PathBuf]) -> Vec<PathBuf> {
    roots.iter().flat_map(|root| FILES.iter().map(|file| root.join(file))).collect()
}

/// Where the files of containers are that are called so or whose id begins so.
pub(super) async fn storages(roots: &[PathBuf], wanted: &str) -> Vec<Storage> {
    let (files, wanted) = (files(roots), wanted.to_owned());
    let find = move || files.iter().flat_map(|file| stored(file, &wanted)).collect();
    task::spawn_blocking(find).await.unwrap_or_default()
}

fn find(file: &Path, id: &str) -> Option<Container> {
    let stored = all(file).into_iter().find(|stored| stored.id == id)?;
    container(&stored)
}

fn stored(file: &Path, wanted: &str) -> Vec<Storage> {
    let stored = all(file).into_iter().filter_map(|stored| {
        let container = container(&stored).filter(|container| select::is(container, wanted))?;
        storage(file, &stored, container)
    });
    stored.collect()
}

fn container(stored: &Stored) -> Option<Container> {
    let metadata: Metadata = serde_json::from_str(&stored.metadata).ok()?;
    if metadata.pod_name.is_some() {
        return None;
    }
    Some(Container {
        id: Some(stored.id.clone()),
        name: metadata.name,
        runtime: Some("podman".to_owned()),
        image: metadata.image_name.filter(|name| !name.is_empty()),
        pod: None,
    })
}

/// The layers, as the overlay driver of containers/storage lays them out: each has its files in `diff`,
/// and in `lower` the short names of those below it.
fn storage(file: &Path, stored: &Stored, container: Container) -> Option<Storage> {
    let root = file.ancestors().nth(2)?;
    let overlay = root.join("overlay");
    let layer = overlay.join(&stored.layer);
    let lower = text(&layer.join("lower")).ok()?;
    let config = root.join("overlay-containers").join(&stored.id).join("userdata/config.json");
    let started: Started = parse(&config).ok()?;
    Some(Storage {
        container,
        running: false,
        driver: "overlay".to_owned(),
        merged: Some(layer.join("merged")),
        upper: Some(layer.join("diff")),
        lower: lower.split(':').map(|lower| overlay.join(lower.trim())).collect(),
        mounts: started.mounts.into_iter().map(mounted).collect(),
    })
}

fn mounted(mount: StartedMount) -> Mounted {
    let bind = mount.kind == "bind" || mount.source.is_absolute();
    let volume = volume_name(&mount.source);
    let kind = match (&volume, bind) {
        (Some(_), _) => "volume".to_owned(),
        (None, true) => "bind".to_owned(),
        (None, false) => mount.kind,
    };
    Mounted {
        point: mount.destination,
        kind,
        volume,
        read_only: mount.options.iter().any(|option| option == "ro"),
        source: bind.then_some(mount.source),
    }
}

fn all(file: &Path) -> Vec<Stored> {
    parse(file)
        .inspect_err(|error| tracing::debug!(%error, file = %file.display(), "not read"))
        .unwrap_or_default()
}

fn parse<T: DeserializeOwned>(file: &Path) -> io::Result<T> {
    Ok(serde_json::from_str(&text(file)?)?)
}

fn text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(file)?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
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

    #[test]
    fn files_are_in_the_storage() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let id = "0123".repeat(16);
        write(
            "overlay-containers/containers.json",
            &format!(r#"[{{"id":"{id}","layer":"top","metadata":"{{\"name\":\"web\"}}"}}]"#),
        );
        write("overlay/top/lower", "l/AB:l/CD");
        let config = r#"{"mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/data", "type": "bind", "options": ["ro", "rbind"],
             "source": "/var/lib/containers/storage/volumes/shop/_data"},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}]}"#;
        write(&format!("overlay-containers/{id}/userdata/config.json"), config);
        let file = root.path().join("overlay-containers/containers.json");
        assert!(stored(&file, "db").is_empty());
        let found = stored(&file, "web");
        assert_eq!(found, stored(&file, "01230"));
        let [storage] = found.as_slice() else { panic!("{found:?}") };
        let in_overlay = |path: &str| root.path().join("overlay").join(path);
        assert_eq!(storage.upper, Some(in_overlay("top/diff")));
        assert_eq!(storage.lower, [in_overlay("l/AB"), in_overlay("l/CD")]);
        let mounts: Vec<_> = storage
            .mounts
            .iter()
            .map(|mount| (&*mount.kind, mount.volume.as_deref(), mount.source.is_some()))
            .collect();
        let expect =
            [("proc", None, false), ("volume", Some("shop"), true), ("tmpfs", None, false)];
        assert_eq!(mounts, expect);
        assert!(storage.mounts.get(1).unwrap().read_only);
    }
}
