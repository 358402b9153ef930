//! The layers of an overlay, looked up as the kernel does it: which of them hold a path.
//!
//! Whiteouts, opaque folders, redirects and files of which a layer has only the metadata are those of
//! Documentation/filesystems/overlayfs.rst. What is opened is never outside a layer: no link is
//! followed and no mount is crossed.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::{Component, Path, PathBuf},
};

use rustix::fs::{FileType, Stat};

use super::node::{Node, beneath, join, path_of};
use crate::{discover::Layers, resolve::descriptor_path};

/// Longest value of an attribute that is read: a path.
const ATTRIBUTE: usize = 4096;

/// An overlay as its layers.
#[derive(Debug)]
pub(super) struct Overlay {
    layers: Vec<Layer>,
    /// Whether the first is the container's own.
    has_upper: bool,
    /// The layers from here on hold data only, and are no part of the tree.
    data_only: usize,
    attributes: Attributes,
}

/// One layer.
#[derive(Debug)]
pub(super) struct Layer {
    /// Where it lies on the host.
    pub(super) path: PathBuf,
    folder: OwnedFd,
}

#[derive(Clone, Copy, Debug)]
struct Attributes {
    prefix: &'static str,
}

/// What one layer has of a path.
#[derive(Debug)]
pub(super) struct Piece {
    /// The layer, counted from the top.
    pub(super) layer: usize,
    /// Where in it.
    pub(super) within: PathBuf,
    /// The file, not opened for reading.
    pub(super) file: OwnedFd,
    /// What it is.
    pub(super) stat: Stat,
}

/// Where the lower layers are looked through.
enum Search {
    /// In the folders that make the parent, under a name.
    Beside(OsString),
    /// From the top of a layer, since the folder was moved there from here.
    At(PathBuf),
}

/// What a layer says of a path.
enum Found {
    Nothing,
    /// What is below does not count.
    End,
    /// The last flag: what is below does not count.
    Piece(Piece, bool),
}

impl Overlay {
    /// Opens the layers; `None` when one of them is not to be seen on the node.
    pub(super) fn open(node: &Node, layers: &Layers) -> Option<Self> {
        let prefix = if layers.user_attributes { "user.overlay." } else { "trusted.overlay." };
        Some(Self {
            data_only: layers.all().count() - layers.data_only.len(),
            has_upper: layers.upper.is_some(),
            attributes: Attributes { prefix },
            layers: layers.all().map(|path| Layer::open(node, path)).collect::<Option<_>>()?,
        })
    }

    /// Its layers from the top, with a word for each.
    pub(super) fn layers(&self) -> impl Iterator<Item = (&'static str, &Layer)> {
        self.layers.iter().enumerate().map(|(index, layer)| (self.kind(index), layer))
    }

    /// `upper`, `lower` or `data`.
    pub(super) fn kind(&self, layer: usize) -> &'static str {
        match layer {
            0 if self.has_upper => "upper",
            layer if layer < self.data_only => "lower",
            _ => "data",
        }
    }

    /// Where a piece lies on the host.
    pub(super) fn path(&self, piece: &Piece) -> PathBuf {
        self.layers
            .get(piece.layer)
            .map_or_else(PathBuf::new, |layer| join(&layer.path, &piece.within))
    }

    /// All that the layers have of a path without links, from the top; nothing when the overlay does not
    /// show it. Of a folder these are the folders that are shown as one; of a file it is the file, and
    /// when that has only the metadata, behind it what has the data.
    pub(super) fn look_up(&self, path: &Path) -> Vec<Piece> {
        let mut stack = self.top();
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            stack = self.step(&stack, name);
            if stack.is_empty() {
                break;
            }
        }
        stack
    }

    /// The names in a folder that is made of these pieces.
    pub(super) fn names(&self, folder: &[Piece]) -> Vec<OsString> {
        let mut names = BTreeSet::new();
        for piece in folder {
            let entries =
                fs::read_dir(descriptor_path(&piece.file)).into_iter().flatten().flatten();
            names.extend(entries.map(|entry| entry.file_name()));
        }
        names.into_iter().filter(|name| !self.step(folder, name).is_empty()).collect()
    }

    fn top(&self) -> Vec<Piece> {
        let tree = self.layers.iter().take(self.data_only).enumerate();
        let pieces = tree.filter_map(|(layer, Layer { folder, .. })| {
            let file = beneath(folder, Path::new("")).ok()?;
            let stat = rustix::fs::fstat(&file).ok()?;
            Some(Piece { layer, within: PathBuf::new(), file, stat })
        });
        pieces.collect()
    }

    /// What is shown under a name in a folder that is made of these pieces.
    fn step(&self, folder: &[Piece], name: &OsStr) -> Vec<Piece> {
        let mut found: Vec<Piece> = Vec::new();
        let mut search = Search::Beside(name.to_owned());
        let mut lacks_data = false;
        for layer in 0..self.layers.len() {
            // A layer that holds data only is reached by redirects of files that lack it.
            if layer >= self.data_only && !(lacks_data && matches!(search, Search::At(_))) {
                break;
            }
            let looked = match &mut search {
                Search::Beside(name) => match folder.iter().find(|piece| piece.layer == layer) {
                    Some(parent) if is_folder(&parent.stat) => self.in_folder(parent, name),
                    _ => Found::Nothing,
                },
                Search::At(path) => self.in_layer(layer, path),
            };
            let (piece, last) = match looked {
                Found::Nothing => continue,
                Found::End => break,
                Found::Piece(piece, last) => (piece, last),
            };
            // Folders are shown as one with folders only, and data is in regular files.
            let fits =
                found.first().is_none_or(|first| is_folder(&first.stat) == is_folder(&piece.stat));
            if !fits {
                break;
            }
            if let (Search::Beside(_), Some(to)) = (&search, self.attributes.redirect(&piece)) {
                search = match to.is_absolute() {
                    true => Search::At(path_in(&to)),
                    false => Search::Beside(to.into_os_string()),
                };
            }
            lacks_data = !is_folder(&piece.stat) && !last;
            found.push(piece);
            if last {
                break;
            }
        }
        // A file whose data is nowhere cannot be opened inside either.
        if lacks_data { Vec::new() } else { found }
    }

    fn in_folder(&self, parent: &Piece, name: &OsStr) -> Found {
        match beneath(&parent.file, Path::new(name)) {
            Ok(file) => self.classify(parent.layer, parent.within.join(name), file),
            Err(_) => Found::Nothing,
        }
    }

    /// Every folder on the way counts as in a look-up of its own. The path becomes what the next layers call
    /// it.
    fn in_layer(&self, layer: usize, path: &mut PathBuf) -> Found {
        let Some(Layer { folder, .. }) = self.layers.get(layer) else {
            return Found::Nothing;
        };
        let names: Vec<OsString> = path.iter().map(OsStr::to_owned).collect();
        let (mut within, mut below, mut ended) = (PathBuf::new(), PathBuf::new(), false);
        for (index, name) in names.iter().enumerate() {
            within.push(name);
            below.push(name);
            let looked = match beneath(folder, &within) {
                Ok(file) => self.classify(layer, within.clone(), file),
                Err(_) => Found::Nothing,
            };
            let (piece, last) = match looked {
                Found::Piece(piece, last) => (piece, last || ended),
                Found::Nothing if !ended => break,
                Found::Nothing | Found::End => return Found::End,
            };
            match self.attributes.redirect(&piece) {
                Some(to) if to.is_absolute() => below = path_in(&to),
                Some(to) => below.set_file_name(to),
                None => {}
            }
            let rest = names.get(index + 1..).unwrap_or_default();
            if rest.is_empty() {
                *path = below;
                return Found::Piece(piece, last);
            }
            if !is_folder(&piece.stat) {
                return Found::End;
            }
            ended = last;
            *path = below.iter().chain(rest.iter().map(OsString::as_os_str)).collect();
        }
        Found::Nothing
    }

    fn classify(&self, layer: usize, within: PathBuf, file: OwnedFd) -> Found {
        let Ok(stat) = rustix::fs::fstat(&file) else {
            return Found::Nothing;
        };
        if self.attributes.is_whiteout(&file, &stat) {
            return Found::End;
        }
        let last = if is_folder(&stat) {
            self.attributes.read(&file, "opaque").as_deref() == Some(b"y")
        } else {
            !is_regular(&stat) || self.attributes.read(&file, "metacopy").is_none()
        };
        Found::Piece(Piece { layer, within, file, stat }, last)
    }
}

impl Layer {
    fn open(node: &Node, path: &Path) -> Option<Self> {
        let folder = node.named(path).ok()?;
        // Runtimes name layers by short links.
        Some(Self { path: path_of(&folder).ok()?, folder })
    }
}

impl Attributes {
    fn read(self, file: &OwnedFd, name: &str) -> Option<Vec<u8>> {
        let mut value = vec![0; ATTRIBUTE];
        // By its path, since what is only named has no attributes; it leads to the file itself.
        let name = format!("{}{name}", self.prefix);
        let length = rustix::fs::getxattr(descriptor_path(file), name, &mut value[..]).ok()?;
        value.truncate(length);
        Some(value)
    }

    /// Where the lower layers have what this layer has moved: a name, or a path from the top.
    fn redirect(self, piece: &Piece) -> Option<PathBuf> {
        let value = self.read(&piece.file, "redirect")?;
        Some(PathBuf::from(OsStr::from_bytes(&value)))
    }

    /// A device of the number 0, or since Linux 6.7 an empty file that says so.
    fn is_whiteout(self, file: &OwnedFd, stat: &Stat) -> bool {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => stat.st_rdev == 0,
            FileType::RegularFile => stat.st_size == 0 && self.read(file, "whiteout").is_some(),
            _ => false,
        }
    }
}

/// A path from the top of a layer, relative to it.
fn path_in(path: &Path) -> PathBuf {
    path.components().filter(|component| matches!(component, Component::Normal(_))).collect()
}

/// The piece that holds the bytes: of a folder the uppermost, of a file the one with the data.
pub(super) fn holder(pieces: &[Piece]) -> Option<&Piece> {
    let first = pieces.first()?;
    if is_folder(&first.stat) { Some(first) } else { pieces.last() }
}

pub(super) fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

pub(super) fn is_regular(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}
