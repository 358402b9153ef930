//! The files of a container that does not run, from what its runtime says of them.
//!
//! Nothing is mounted, so that paths are followed here: through the layers, and through what would be
//! mounted over them.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStringExt as _,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use rustix::{fs::FileType, io::Errno};

use super::{
    Entry, Held, Place, Report, Tree,
    live::{refusal, shown},
    node::{Node, beneath, names, path_of},
    overlay::{Overlay, Piece, holder, is_folder},
    report,
};
use crate::{
    discover::Layers,
    enrich::{Mounted, Storage},
};

/// As many links as the kernel follows (path_resolution(7)).
const LINKS: usize = 40;

/// What the container would see as `/`.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) node: Node,
    pub(super) storage: Storage,
    pub(super) overlay: Overlay,
}

impl Stopped {
    /// Opens the layers that the runtime names.
    pub(super) fn open(proc: &Path, storage: Storage) -> Result<Self> {
        let node = Node::open(proc).context("failed to open the root of the node")?;
        let Storage { container, driver, upper, lower, .. } = &storage;
        let runtime = container.runtime.as_deref().unwrap_or("its runtime");
        if upper.is_none() {
            bail!(
                "the container does not run, and {runtime} does not say where its storage driver \
                 '{driver}' keeps the files; start the container, or copy them with {runtime} cp"
            );
        }
        let layers = Layers { upper: upper.clone(), lower: lower.clone(), ..Layers::default() };
        let overlay = Overlay::open(&node, &layers).with_context(|| {
            format!("the layers that {runtime} names are not to be seen on the node; run as root")
        })?;
        let mut stopped = Self { node, storage, overlay };
        stopped.follow_points();
        Ok(stopped)
    }

    /// What is mounted at a path that leads through links is where they lead.
    fn follow_points(&mut self) {
        let mut mounts = std::mem::take(&mut self.storage.mounts);
        mounts.sort_by_key(|mount| mount.point.as_os_str().len());
        for mut mount in mounts {
            // The folder for it may not be there before the first start.
            if let Ok(entry) = self.follow(&mount.point) {
                mount.point = entry.inside;
            }
            self.storage.mounts.push(mount);
        }
    }

    /// Follows a path as the kernel does, with the container's root as its end.
    fn follow(&self, path: &Path) -> Result<Entry> {
        let mut done = PathBuf::from("/");
        let mut ahead: VecDeque<OsString> = VecDeque::new();
        push(&mut ahead, path);
        let mut links = 0;
        let mut entry = self.look_up(&done)?;
        while let Some(name) = ahead.pop_front() {
            if !is_folder(&entry.stat) {
                return Err(refusal(path, Errno::NOTDIR));
            }
            if name == ".." {
                done.pop();
                entry = self.look_up(&done)?;
                continue;
            }
            let next = self.look_up(&done.join(&name))?;
            let Some(to) = link(&next) else {
                done.push(name);
                entry = next;
                continue;
            };
            links += 1;
            if links > LINKS {
                return Err(refusal(path, Errno::LOOP));
            }
            push(&mut ahead, &to);
            if to.is_absolute() {
                done = PathBuf::from("/");
                entry = self.look_up(&done)?;
            }
        }
        Ok(entry)
    }

    /// What is at a path in which nothing is a link, or in which only the last part is one.
    fn look_up(&self, inside: &Path) -> Result<Entry> {
        let mounts = self.storage.mounts.iter().filter(|mount| inside.starts_with(&mount.point));
        match mounts.max_by_key(|mount| mount.point.as_os_str().len()) {
            Some(mount) => self.in_mount(mount, inside),
            None => self.in_layers(inside),
        }
    }

    fn in_layers(&self, inside: &Path) -> Result<Entry> {
        let pieces = self.overlay.look_up(inside);
        let Some(holds) = holder(&pieces) else {
            return Err(refusal(inside, Errno::NOENT));
        };
        let file = holds.file.try_clone().context("failed to keep a file open")?;
        // What a layer has in metadata alone counts, its data is further down.
        let stat = pieces.first().map_or(holds.stat, |first| first.stat);
        Ok(Entry { inside: inside.to_owned(), file, stat, pieces, path: None })
    }

    fn in_mount(&self, mount: &Mounted, inside: &Path) -> Result<Entry> {
        let Some(source) = &mount.source else {
            bail!(
                "{}: the container does not run, and what was in the {} mounted at {} is gone",
                shown(inside),
                mount.kind,
                shown(&mount.point)
            );
        };
        let source = self.node.named(source).map_err(|errno| refusal(source, errno))?;
        let rest = inside.strip_prefix(&mount.point)?;
        let file = match rest.as_os_str().is_empty() {
            true => source,
            false => beneath(&source, rest).map_err(|errno| refusal(inside, errno))?,
        };
        let stat = rustix::fs::fstat(&file)?;
        Ok(Entry { inside: inside.to_owned(), file, stat, pieces: Vec::new(), path: None })
    }
}

impl Tree for Stopped {
    fn find(&self, path: &Path) -> Result<Entry> {
        self.follow(path)
    }

    fn child(&self, folder: &Entry, name: &OsStr) -> Result<Entry> {
        self.look_up(&folder.inside.join(name))
    }

    fn names(&self, folder: &Entry) -> Result<Vec<OsString>> {
        if !folder.pieces.is_empty() {
            return Ok(self.overlay.names(&folder.pieces));
        }
        names(&folder.file).with_context(|| format!("failed to read {}", shown(&folder.inside)))
    }

    fn place(&self, entry: &Entry) -> Result<Place> {
        let Entry { inside, file, stat, pieces, .. } = entry;
        let path = path_of(file)?;
        let held =
            |piece: &Piece| Held { kind: self.overlay.kind(piece.layer), path: path.clone() };
        let layer = holder(pieces).map(held);
        Ok(Place { inside: inside.clone(), path, layer, stat: *stat })
    }

    fn report(&self) -> Report {
        report::of_storage(self)
    }
}

/// Puts the parts of a path in front.
fn push(ahead: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => ahead.push_front(name.to_owned()),
            Component::ParentDir => ahead.push_front("..".into()),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
}

/// Where a link leads.
pub(super) fn link(entry: &Entry) -> Option<PathBuf> {
    if FileType::from_raw_mode(entry.stat.st_mode) != FileType::Symlink {
        return None;
    }
    let to = rustix::fs::readlinkat(&entry.file, c"", Vec::new()).ok()?;
    Some(OsString::from_vec(to.into_bytes()).into())
}
