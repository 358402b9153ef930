//! All the ways to the files of a container.

use std::path::{Path, PathBuf};

use procfs::process::MountInfo;
use rustix::fs::{OFlags, Stat};

use super::{
    Mount, Report, Way,
    live::{Live, held},
    node::{Node, path_of},
    overlay::Overlay,
    stopped::Stopped,
};
use crate::enrich::{Mounted, Storage, volume_name};

/// File systems that hold no files but the kernel's own.
const KERNEL: [&str; 17] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "mqueue",
    "proc",
    "pstore",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// What the kernel says is told by it.
const TOLD: &str = "kernel";

pub(super) fn of_process(live: &Live) -> Report {
    let mut roots = vec![way("process", live.process.join("root"), true, TOLD)];
    if let Some(mount) = live.table.mount(&live.root) {
        root(live, mount, &mut roots);
    }
    if let Some(storage) = &live.storage {
        tell(&live.node, storage, &mut roots);
    }
    Report { roots, mounts: mounts(live) }
}

pub(super) fn of_storage(stopped: &Stopped) -> Report {
    let Stopped { node, storage, overlay } = stopped;
    let runtime = runtime(storage);
    let mut roots: Vec<_> = overlay
        .layers()
        .map(|(kind, layer)| way(kind, layer.path.clone(), true, runtime))
        .collect();
    tell(node, storage, &mut roots);
    let mounts = storage.mounts.iter().map(|mount| of_runtime(node, mount)).collect();
    Report { roots, mounts }
}

fn way(kind: &'static str, path: PathBuf, exists: bool, told_by: &str) -> Way {
    Way { kind, path, exists, told_by: vec![told_by.to_owned()] }
}

fn runtime(storage: &Storage) -> &str {
    storage.container.runtime.as_deref().unwrap_or("runtime")
}

/// Where the root of a process is to be seen on the host, and its layers.
fn root(live: &Live, mount: &MountInfo, roots: &mut Vec<Way>) {
    let is_overlay = mount.fs_type == "overlay";
    let kind = if is_overlay { "merged" } else { "folder" };
    let within = path_of(&live.root).ok().and_then(|path| live.table.within(mount, &path));
    let (Some(within), Ok(stat)) = (within, rustix::fs::fstat(&live.root)) else { return };
    let paths = live.node.paths_of(&mount.majmin, &within, &stat);
    roots.extend(paths.into_iter().map(|path| way(kind, path, true, TOLD)));
    let overlay = is_overlay.then(|| live.overlay(mount)).flatten();
    let overlay = overlay.filter(|overlay| held(overlay, &within, &stat).is_some());
    for (kind, layer) in overlay.iter().flat_map(Overlay::layers) {
        roots.push(way(kind, layer.path.clone(), true, TOLD));
    }
}

/// Adds what the runtime says; what is known already it only confirms.
fn tell(node: &Node, storage: &Storage, roots: &mut Vec<Way>) {
    let kinds = storage.merged.iter().map(|path| ("merged", path));
    let kinds = kinds.chain(storage.upper.iter().map(|path| ("upper", path)));
    let kinds = kinds.chain(storage.lower.iter().map(|path| ("lower", path)));
    for (kind, path) in kinds {
        let opened = node.named(path);
        let real = opened.as_ref().ok().and_then(|folder| path_of(folder).ok());
        let path = real.unwrap_or_else(|| path.clone());
        // A folder for the layers as one is there before they are mounted on it, and after.
        let exists = opened.is_ok() && kind != "merged";
        match roots.iter_mut().find(|way| way.path == path && way.kind == kind) {
            Some(way) if way.told_by.iter().any(|teller| teller == runtime(storage)) => {}
            Some(way) => way.told_by.push(runtime(storage).to_owned()),
            None => roots.push(way(kind, path, exists, runtime(storage))),
        }
    }
}

fn mounts(live: &Live) -> Vec<Mount> {
    let points = live.table.points().filter(|(point, mount)| {
        let hidden = point.starts_with("/proc") || point.starts_with("/sys");
        point != Path::new("/") && !hidden && !KERNEL.contains(&mount.fs_type.as_str())
    });
    let mut mounts: Vec<_> =
        points.filter_map(|(point, mount)| of_kernel(live, point, mount)).collect();
    mounts.sort_by(|one, other| one.point.cmp(&other.point));
    mounts
}

/// A mount that is to be seen: another may have been mounted over it.
fn of_kernel(live: &Live, point: PathBuf, mount: &MountInfo) -> Option<Mount> {
    let file = live.open_inside(&point, OFlags::NOFOLLOW).ok()?;
    if live.table.mount(&file)?.mnt_id != mount.mnt_id {
        return None;
    }
    let stat = rustix::fs::fstat(&file).ok()?;
    let source = source(live, mount, &stat);
    let volume = source.as_deref().and_then(volume_name);
    let kind = match (&volume, &source) {
        (Some(_), _) => "volume",
        // The node's own mounts are what they are.
        (None, Some(_)) if !live.node.has_mount(mount.mnt_id) => "bind",
        _ => &mount.fs_type,
    };
    Some(Mount {
        kind: kind.to_owned(),
        volume,
        path: Some(source.clone().unwrap_or_else(|| live.through_process(&point))),
        source,
        read_only: mount.mount_options.contains_key("ro"),
        point,
    })
}

fn source(live: &Live, mount: &MountInfo, stat: &Stat) -> Option<PathBuf> {
    live.node.paths_of(&mount.majmin, Path::new(&mount.root), stat).into_iter().next()
}

fn of_runtime(node: &Node, mount: &Mounted) -> Mount {
    let Mounted { point, kind, volume, source, read_only } = mount.clone();
    let path = source.clone().filter(|source| node.has(source));
    Mount { point, kind, volume, source, path, read_only }
}
