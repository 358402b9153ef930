//! The files of what the user named, and what can be done with them.

use std::{
    ffi::OsString,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::fs::Stat;

use super::{
    Entry, Owner, Place, Report, Tree, copy,
    live::{Live, shown},
    overlay::is_folder,
    stopped::{Stopped, link},
};
use crate::{
    enrich::{self, Storage},
    target::{self, FindError, Target},
};

/// How long container runtimes may take to say where files are.
const STORAGE: Duration = Duration::from_secs(5);

/// The files of a process, or of a container.
pub struct Files {
    owner: Owner,
    tree: Box<dyn Tree>,
}

/// One file of a folder.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: OsString,
    /// What it is; links are not followed.
    pub stat: Stat,
    /// Where it leads, if it is a link.
    pub link: Option<PathBuf>,
}

impl Files {
    /// Those of a process by its number, or of a container by its name or the beginning of its id, which
    /// need not run. Must not be called in a tokio runtime.
    pub fn of(proc: &Path, wanted: &str) -> Result<Self> {
        match target::find(proc, wanted) {
            Ok(target) => Self::of_process(proc, &target),
            Err(FindError::Unknown { wanted, unnamed }) => match Self::of_stopped(proc, &wanted)? {
                Some(files) => Ok(files),
                None => Err(FindError::Unknown { wanted, unnamed }.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    fn of_process(proc: &Path, target: &Target) -> Result<Self> {
        let id = target.container.as_ref().and_then(|container| container.id.as_deref());
        let storage = id.map(storages).transpose()?.unwrap_or_default();
        let storage = storage.into_iter().find(|one| one.container.id.as_deref() == id);
        let process = enrich::process(proc, target.pid);
        let live = Live::open(proc, target, storage)?;
        let owner = Owner { process: Some(process), container: target.container.clone() };
        Ok(Self { owner, tree: Box::new(live) })
    }

    fn of_stopped(proc: &Path, wanted: &str) -> Result<Option<Self>> {
        let mut storages = storages(wanted)?;
        if storages.len() > 1 {
            let names = storages.iter().map(|one| {
                let parts = [&one.container.runtime, &one.container.name, &one.container.id];
                parts.into_iter().flatten().cloned().collect::<Vec<_>>().join(" ")
            });
            let names: Vec<_> = names.collect();
            bail!("'{}' may be any of {}", wanted.escape_debug(), names.join(", "));
        }
        let Some(storage) = storages.pop() else { return Ok(None) };
        let container = Some(Arc::new(storage.container.clone()));
        if storage.running {
            bail!("container '{}' has no process at this moment; try again", wanted.escape_debug());
        }
        let tree = Box::new(Stopped::open(proc, storage)?);
        Ok(Some(Self { owner: Owner { process: None, container }, tree }))
    }

    /// Whose they are.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// All the ways to them.
    pub fn report(&self) -> Report {
        self.tree.report()
    }

    /// Where one of them lies.
    pub fn place(&self, path: &Path) -> Result<Place> {
        self.tree.place(&self.tree.find(path)?)
    }

    /// What is in a folder; a file alone if it is none.
    pub fn list(&self, path: &Path) -> Result<Vec<Listed>> {
        let entry = self.tree.find(path)?;
        if !is_folder(&entry.stat) {
            return Ok(vec![listed(path.file_name().unwrap_or_default().to_owned(), &entry)]);
        }
        let names = self.tree.names(&entry)?.into_iter();
        // What was removed meanwhile is not there.
        let children = names.filter_map(|name| {
            let child = self.tree.child(&entry, &name).ok()?;
            Some(listed(name, &child))
        });
        Ok(children.collect())
    }

    /// Opens a file for reading.
    pub fn open(&self, path: &Path) -> Result<File> {
        let entry = self.tree.find(path)?;
        copy::readable(&entry).with_context(|| format!("failed to open {}", shown(path)))
    }

    /// Copies a file or a folder to the host; its path there.
    pub fn copy(&self, path: &Path, to: &Path, note: &mut dyn FnMut(&str)) -> Result<PathBuf> {
        copy::copy(&*self.tree, &self.tree.find(path)?, to, note)
    }
}

fn listed(name: OsString, entry: &Entry) -> Listed {
    Listed { name, stat: entry.stat, link: link(entry) }
}

fn storages(wanted: &str) -> io::Result<Vec<Storage>> {
    target::wait_for(enrich::storages(wanted.trim_start_matches('/'), STORAGE))
}
