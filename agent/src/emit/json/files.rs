//! What `tlstap fs` tells, an object a line.

use std::{
    borrow::Cow,
    io::{self, Write},
    path::Path,
};

use jiff::Timestamp;
use rustix::fs::{FileType, Stat};
use serde::Serialize;

use super::{
    SCHEMA, compact,
    origin::{ContainerJson, K8s, ProcessJson},
};
use crate::fs::{Held, Listed, Mount, Owner, Place, Report, Way};

/// Writes all ways to the files.
pub(in super::super) fn report(
    owner: &Owner,
    report: &Report,
    out: &mut impl Write,
) -> io::Result<()> {
    let roots = report.roots.iter().map(WayJson::of).collect();
    let mounts = report.mounts.iter().map(MountJson::of).collect();
    write(owner, "files", Rest::All { roots, mounts }, out)
}

/// Writes where one file lies.
pub(in super::super) fn place(
    owner: &Owner,
    place: &Place,
    out: &mut impl Write,
) -> io::Result<()> {
    let file = FileJson { path: Some(text(&place.inside)), ..FileJson::of(&place.stat) };
    let layer = place.layer.as_ref().map(LayerJson::of);
    let host = Some(HostJson { path: text(&place.path) });
    write(owner, "file", Rest::One { file, host, layer }, out)
}

/// Writes a file of a folder.
pub(in super::super) fn listed(
    owner: &Owner,
    listed: &Listed,
    out: &mut impl Write,
) -> io::Result<()> {
    let file = FileJson {
        name: Some(listed.name.to_string_lossy()),
        link: listed.link.as_deref().map(text),
        ..FileJson::of(&listed.stat)
    };
    write(owner, "file", Rest::One { file, host: None, layer: None }, out)
}

fn write(
    owner: &Owner,
    kind: &'static str,
    rest: Rest<'_>,
    out: &mut impl Write,
) -> io::Result<()> {
    let line = Line {
        schema: SCHEMA,
        kind,
        process: owner.process.as_deref().map(ProcessJson::of),
        container: owner.container.as_deref().map(ContainerJson::of),
        k8s: K8s::of(owner.container.as_deref()),
        rest,
    };
    let mut text = Vec::new();
    compact::write(&line, &mut text)?;
    text.push(b'\n');
    out.write_all(&text)
}

/// What is no UTF-8 cannot be told in JSON.
fn text(path: &Path) -> Cow<'_, str> {
    path.to_string_lossy()
}

#[derive(Serialize)]
struct Line<'a> {
    schema: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<ProcessJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<ContainerJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k8s: Option<K8s<'a>>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Rest<'a> {
    All {
        roots: Vec<WayJson<'a>>,
        mounts: Vec<MountJson<'a>>,
    },
    One {
        file: FileJson<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        host: Option<HostJson<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        layer: Option<LayerJson<'a>>,
    },
}

#[derive(Serialize)]
struct WayJson<'a> {
    kind: &'static str,
    path: Cow<'a, str>,
    exists: bool,
    told_by: &'a [String],
}

impl<'a> WayJson<'a> {
    fn of(way: &'a Way) -> Self {
        Self { kind: way.kind, path: text(&way.path), exists: way.exists, told_by: &way.told_by }
    }
}

#[derive(Serialize)]
struct MountJson<'a> {
    point: Cow<'a, str>,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    read_only: bool,
}

impl<'a> MountJson<'a> {
    fn of(mount: &'a Mount) -> Self {
        Self {
            point: text(&mount.point),
            kind: &mount.kind,
            volume: mount.volume.as_deref(),
            source: mount.source.as_deref().map(text),
            path: mount.path.as_deref().map(text),
            read_only: mount.read_only,
        }
    }
}

#[derive(Serialize)]
struct FileJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<Cow<'a, str>>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    link: Option<Cow<'a, str>>,
    mode: String,
    uid: u32,
    gid: u32,
    size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
}

impl FileJson<'_> {
    fn of(stat: &Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => "file",
            FileType::Directory => "directory",
            FileType::Symlink => "link",
            FileType::CharacterDevice | FileType::BlockDevice => "device",
            FileType::Fifo => "fifo",
            FileType::Socket => "socket",
            FileType::Unknown => "unknown",
        };
        Self {
            path: None,
            name: None,
            kind,
            link: None,
            mode: format!("{:04o}", stat.st_mode & 0o7777),
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: stat.st_size,
            modified: Timestamp::from_second(stat.st_mtime).ok().map(|time| time.to_string()),
        }
    }
}

#[derive(Serialize)]
struct HostJson<'a> {
    path: Cow<'a, str>,
}

#[derive(Serialize)]
struct LayerJson<'a> {
    kind: &'static str,
    path: Cow<'a, str>,
}

impl<'a> LayerJson<'a> {
    fn of(held: &'a Held) -> Self {
        Self { kind: held.kind, path: text(&held.path) }
    }
}
