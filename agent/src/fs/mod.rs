//! A process or a container in, the places where its files lie on the host out.
//!
//! A container's files are hostile: a path in it is resolved as it is inside, what is named is opened by
//! the descriptor that was resolved, and a path of the host is given only when what lies there is
//! the same file. Nothing is written except the copy that the user asks for.

mod copy;
mod deleted;
mod files;
mod live;
mod node;
mod overlay;
mod report;
mod stopped;
mod table;

use std::{
    ffi::{OsStr, OsString},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Result;
use rustix::fs::Stat;

use crate::enrich::{Container, Process};

pub use files::{Files, Listed};

/// Whose files they are.
#[derive(Clone, Debug, Default)]
pub struct Owner {
    /// The process that is looked through; absent when the container does not run.
    pub process: Option<Arc<Process>>,
    /// Absent on the host.
    pub container: Option<Arc<Container>>,
}

/// All the ways to the files.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// To the root directory.
    pub roots: Vec<Way>,
    /// To what is mounted over it.
    pub mounts: Vec<Mount>,
}

/// A folder of the host that is the root directory, or a layer of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    /// `process`, `merged`, `upper`, `lower`, `data`, or `folder` where the root is no overlay.
    pub kind: &'static str,
    /// On the host.
    pub path: PathBuf,
    /// Whether it is there, and what it is said to be.
    pub exists: bool,
    /// `kernel`, or the runtime's name.
    pub told_by: Vec<String>,
}

/// Something mounted in the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where, in the container.
    pub point: PathBuf,
    /// `bind`, `volume`, `tmpfs`, or another file system.
    pub kind: String,
    /// The volume's name.
    pub volume: Option<String>,
    /// What is mounted, where it lies on the host too.
    pub source: Option<PathBuf>,
    /// The path of the host to open; absent when there is none, as for a tmpfs of a container that does
    /// not run.
    pub path: Option<PathBuf>,
    /// Whether the container may not write to it.
    pub read_only: bool,
}

/// Where one file lies.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its path in the container, without links.
    pub inside: PathBuf,
    /// The path of the host to open.
    pub path: PathBuf,
    /// The layer that holds it, where it is in an overlay whose layers are to be seen.
    pub layer: Option<Held>,
    /// What it is.
    pub stat: Stat,
}

/// A layer of an overlay that holds a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// `upper`, `lower` or `data`.
    pub kind: &'static str,
    /// The file in it, on the host.
    pub path: PathBuf,
}

/// A file of a container, named but not opened.
#[derive(Debug)]
struct Entry {
    /// Its path in the container.
    inside: PathBuf,
    file: OwnedFd,
    stat: Stat,
    /// Of an overlay that is not mounted.
    pieces: Vec<overlay::Piece>,
    /// The one path of the host that leads to it, where that is known already.
    path: Option<PathBuf>,
}

/// The files of a process, or of a container without one.
trait Tree {
    /// What a path means inside, links included.
    fn find(&self, path: &Path) -> Result<Entry>;
    /// What is under a name in a folder; a link is not followed.
    fn child(&self, folder: &Entry, name: &OsStr) -> Result<Entry>;
    /// The names in a folder, in order.
    fn names(&self, folder: &Entry) -> Result<Vec<OsString>>;
    /// Where it lies on the host.
    fn place(&self, entry: &Entry) -> Result<Place>;
    /// All ways.
    fn report(&self) -> Report;
}
