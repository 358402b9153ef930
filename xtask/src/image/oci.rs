//! One program in, an image archive out: the same bytes for the same program, on any machine and at
//! any time.
//!
//! It is an OCI image layout (image-spec v1, image-layout.md), which containerd and Podman read, with
//! the `manifest.json` beside it by which older Dockers find their way.

use std::env::consts::ARCH;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::archive::{Entry, digest, pack};

/// Something that is named by its hash.
struct Blob {
    digest: String,
    bytes: Vec<u8>,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { digest: digest(&bytes), bytes }
    }

    fn json(value: &Value) -> Self {
        Self::new(value.to_string().into_bytes())
    }

    fn path(&self) -> String {
        format!("blobs/sha256/{}", self.digest)
    }

    /// How other blobs refer to it.
    fn descriptor(&self, media_type: &str) -> Value {
        let media_type = format!("application/vnd.oci.image.{media_type}");
        let digest = format!("sha256:{}", self.digest);
        json!({ "mediaType": media_type, "digest": digest, "size": self.bytes.len() })
    }
}

/// The image of a program, under this name.
pub(super) fn of(program: &[u8], tag: &str) -> Result<Vec<u8>> {
    let layer = Blob::new(pack(vec![Entry::program("tlstap", program)])?);
    let config = Blob::json(&config(&layer));
    let manifest = Blob::json(&json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config.descriptor("config.v1+json"),
        "layers": [layer.descriptor("layer.v1.tar")],
    }));
    let index = index(&manifest, tag)?;
    let docker = json!([{ "Config": config.path(), "RepoTags": [tag], "Layers": [layer.path()] }]);
    let text = |path: &str, value: &Value| Entry::new(path, value.to_string());
    let mut entries = vec![
        text("index.json", &index),
        text("manifest.json", &docker),
        text("oci-layout", &json!({ "imageLayoutVersion": "1.0.0" })),
    ];
    let blobs = [layer, config, manifest];
    entries.extend(blobs.map(|blob| Entry::new(blob.path(), blob.bytes)));
    pack(entries)
}

/// What runs, and what of it is public.
fn config(layer: &Blob) -> Value {
    let architecture = match ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": ["/tlstap"],
            "Labels": {
                "org.opencontainers.image.title": "tlstap",
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
                "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", layer.digest)] },
    })
}

fn index(manifest: &Blob, tag: &str) -> Result<Value> {
    let (_, version) = tag.rsplit_once(':').context("write NAME:TAG")?;
    let mut descriptor = manifest.descriptor("manifest.v1+json");
    // The first is the standard's, the second containerd's own.
    let names = json!({
        "org.opencontainers.image.ref.name": version,
        "io.containerd.image.name": full_name(tag),
    });
    descriptor.as_object_mut().context("no object")?.insert("annotations".to_owned(), names);
    Ok(json!({ "schemaVersion": 2, "manifests": [descriptor] }))
}

/// The name as containerd keeps it, which assumes nothing.
fn full_name(tag: &str) -> String {
    match tag.split_once('/') {
        Some((registry, _)) if registry.contains(['.', ':']) => tag.to_owned(),
        Some(_) => format!("docker.io/{tag}"),
        None => format!("docker.io/library/{tag}"),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, io::Read as _};

    use super::*;

    fn unpack(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut names = Vec::new();
        for entry in tar::Archive::new(archive).entries().unwrap() {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
            let name = entry.path().unwrap().display().to_string();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            names.push(name.clone());
            found.insert(name, bytes);
        }
        assert!(names.is_sorted(), "{names:?}");
        found
    }

    fn blob(files: &BTreeMap<String, Vec<u8>>, descriptor: &Value) -> Vec<u8> {
        let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
        let bytes = files.get(&format!("blobs/{digest}")).unwrap().clone();
        assert_eq!(descriptor["size"], bytes.len());
        assert!(digest.ends_with(&Blob::new(bytes.clone()).digest));
        bytes
    }

    fn parsed(bytes: &[u8]) -> Value {
        serde_json::from_slice(bytes).unwrap()
    }

    #[test]
    fn the_same_program_gives_the_same_bytes() {
        assert_eq!(of(b"program", "tlstap:1").unwrap(), of(b"program", "tlstap:1").unwrap());
        assert_ne!(of(b"program", "tlstap:1").unwrap(), of(b"another", "tlstap:1").unwrap());
        assert!(of(b"program", "tlstap").is_err());
    }

    #[test]
    fn both_ways_lead_to_the_program() {
        let files = unpack(&of(b"program", "tlstap:1").unwrap());
        let index = parsed(&files["index.json"]);
        let manifest = parsed(&blob(&files, &index["manifests"][0]));
        let layer = blob(&files, &manifest["layers"][0]);
        assert_eq!(unpack(&layer)["tlstap"], b"program");
        let config = parsed(&blob(&files, &manifest["config"]));
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        let docker = &parsed(&files["manifest.json"])[0];
        assert_eq!(files[docker["Layers"][0].as_str().unwrap()], layer);
        assert_eq!(parsed(&files[docker["Config"].as_str().unwrap()]), config);
        assert_eq!(docker["RepoTags"][0], "tlstap:1");
    }

    #[test]
    fn names_as_containerd_keeps_them() {
        assert_eq!(full_name("tlstap:1"), "docker.io/library/tlstap:1");
        assert_eq!(full_name("someone/tlstap:1"), "docker.io/someone/tlstap:1");
        assert_eq!(full_name("registry.example/tlstap:1"), "registry.example/tlstap:1");
    }
}
