//! The files of a process, through its root directory.

use std::{
    ffi::{OsStr, OsString},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use procfs::process::MountInfo;
use rustix::{
    fs::{Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};

use super::{
    Entry, Held, Place, Report, Tree, deleted,
    node::{NAMED, Node, is_same, join, names, path_of},
    overlay::{Overlay, holder, is_regular},
    report,
    table::Table,
};
use crate::{discover::Layers, enrich::Storage, target::Target};

/// What a process sees as `/`.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) node: Node,
    pub(super) table: Table,
    pub(super) root: OwnedFd,
    /// The process's directory in /proc.
    pub(super) process: PathBuf,
    /// What the container's runtime says.
    pub(super) storage: Option<Storage>,
    proc: PathBuf,
}

impl Live {
    /// Opens the root of a process.
    pub(super) fn open(proc: &Path, target: &Target, storage: Option<Storage>) -> Result<Self> {
        let process = proc.join(target.pid.to_string());
        let root = rustix::fs::open(process.join("root"), NAMED | OFlags::DIRECTORY, Mode::empty());
        let root = root.map_err(|errno| match errno {
            Errno::ACCESS | Errno::PERM => anyhow!(
                "not permitted to look into process {}; run as root (CAP_SYS_PTRACE is needed)",
                target.pid
            ),
            Errno::NOENT | Errno::SRCH => anyhow!("process {} has ended", target.pid),
            errno => anyhow!("failed to open the root of process {}: {errno}", target.pid),
        })?;
        let node = Node::open(proc).context("failed to open the root of the node")?;
        let table = Table::of(proc, &process, &root);
        // Before, its number may have become another's.
        ensure!(target.is_alive(), "process {} has ended", target.pid);
        Ok(Self { node, table, root, process, storage, proc: proc.to_owned() })
    }

    /// Opens a path as it is inside.
    pub(super) fn open_inside(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        rustix::fs::openat2(&self.root, path, NAMED | flags, Mode::empty(), resolve)
    }

    /// The path by which the host reaches what the process has under this one.
    pub(super) fn through_process(&self, inside: &Path) -> PathBuf {
        join(&self.process.join("root"), inside)
    }

    /// The layers of an overlay that the process sees, as they are called on the host. Whoever mounted it in
    /// a namespace of its own may have meant other folders: see [`held`].
    pub(super) fn overlay(&self, mount: &MountInfo) -> Option<Overlay> {
        let layers = Layers::of(mount);
        if layers.all().all(|layer| layer.is_absolute()) {
            return Overlay::open(&self.node, &layers);
        }
        // Runtimes shorten the options by naming layers from the folder that holds them all.
        let points = self.node.mounts_of(&mount.majmin).map(|mount| &mount.mount_point);
        let known = points.chain(layers.all().filter(|layer| layer.is_absolute()));
        let mut bases = known.flat_map(|path| path.ancestors().skip(1));
        bases.find_map(|base| Overlay::open(&self.node, &layers.within(base)))
    }

    fn entry(&self, file: OwnedFd, asked: &Path) -> Result<Entry> {
        let stat = rustix::fs::fstat(&file)?;
        let led = path_of(&file)?;
        let inside = self.table.inside(&led).unwrap_or_else(|| join(Path::new("/"), asked));
        Ok(Entry { inside, file, stat, pieces: Vec::new(), path: None })
    }
}

impl Tree for Live {
    fn find(&self, path: &Path) -> Result<Entry> {
        match self.open_inside(path, OFlags::empty()) {
            Ok(file) => self.entry(file, path),
            Err(errno @ (Errno::NOENT | Errno::NOTDIR)) => {
                let was = self.without_links(path);
                let found = deleted::find(&self.proc, &self.process, &self.table, &was)?;
                found.ok_or_else(|| refusal(path, errno))
            }
            Err(errno) => Err(refusal(path, errno)),
        }
    }

    fn child(&self, folder: &Entry, name: &OsStr) -> Result<Entry> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let flags = NAMED | OFlags::NOFOLLOW;
        let inside = folder.inside.join(name);
        let file = rustix::fs::openat2(&folder.file, name, flags, Mode::empty(), resolve)
            .map_err(|errno| refusal(&inside, errno))?;
        let stat = rustix::fs::fstat(&file)?;
        Ok(Entry { inside, file, stat, pieces: Vec::new(), path: None })
    }

    fn names(&self, folder: &Entry) -> Result<Vec<OsString>> {
        names(&folder.file).with_context(|| format!("failed to read {}", shown(&folder.inside)))
    }

    fn place(&self, entry: &Entry) -> Result<Place> {
        let Entry { inside, file, stat, path, .. } = entry;
        let place = |path, layer| Place { inside: inside.clone(), path, layer, stat: *stat };
        if let Some(path) = path {
            return Ok(place(path.clone(), None));
        }
        let led = path_of(file)?;
        let mount = self.table.mount(file);
        let within = mount.and_then(|mount| self.table.within(mount, &led));
        let (mut path, mut layer) = (None, None);
        if let (Some(mount), Some(within)) = (mount, within) {
            path = self.node.paths_of(&mount.majmin, &within, stat).into_iter().next();
            if mount.fs_type == "overlay" {
                layer = self.overlay(mount).and_then(|overlay| held(&overlay, &within, stat));
            }
        }
        let path = match path {
            Some(path) => path,
            None => self.verified(inside, stat)?,
        };
        Ok(place(path, layer))
    }

    fn report(&self) -> Report {
        report::of_process(self)
    }
}

impl Live {
    /// A path that leads to nothing, with the links in its folder followed as far as there is one.
    fn without_links(&self, path: &Path) -> PathBuf {
        let lexical = join(Path::new("/"), path);
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return lexical;
        };
        let folder = self.open_inside(&join(Path::new("/"), folder), OFlags::DIRECTORY).ok();
        let folder = folder.and_then(|folder| self.table.inside(&path_of(folder).ok()?));
        folder.map_or(lexical, |folder| folder.join(name))
    }

    fn verified(&self, inside: &Path, stat: &Stat) -> Result<PathBuf> {
        let found = self.open_inside(inside, OFlags::NOFOLLOW).and_then(rustix::fs::fstat);
        if found.is_ok_and(|found| is_same(&found, stat)) {
            return Ok(self.through_process(inside));
        }
        bail!("{} was moved or replaced meanwhile; try again", shown(inside))
    }
}

/// The layer of an overlay that holds what it shows as `stat` under a path; `None` where these are not its
/// layers.
pub(super) fn held(overlay: &Overlay, within: &Path, stat: &Stat) -> Option<Held> {
    let pieces = overlay.look_up(within);
    let (first, holds) = (pieces.first()?, holder(&pieces)?);
    let times = |stat: &Stat| {
        (stat.st_mode, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
    };
    // An overlay shows the times of the real file; nobody can set the time of change.
    let is_it = times(&first.stat) == times(stat)
        && (!is_regular(stat) || holds.stat.st_size == stat.st_size);
    is_it.then(|| Held { kind: overlay.kind(holds.layer), path: overlay.path(holds) })
}

/// Why a path does not open, in the words of its container.
pub(super) fn refusal(path: &Path, errno: Errno) -> anyhow::Error {
    let why = match errno {
        Errno::NOENT => "there is no such file",
        Errno::NOTDIR => "a part of the path is no folder",
        Errno::LOOP => {
            "a part of the path is a link that leads on without end, or out through /proc"
        }
        Errno::ACCESS | Errno::PERM => "not permitted; run as root",
        errno => return anyhow!("failed to open {}: {errno}", shown(path)),
    };
    anyhow!("{}: {why}", shown(path))
}

/// A path of a container, for a terminal.
pub(super) fn shown(path: &Path) -> String {
    path.to_string_lossy().escape_debug().to_string()
}
