//! Files of the host that nobody has any business with: the kernel says whether one was opened.

use std::{
    fs,
    io::Write as _,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    fs::inotify::{self, CreateFlags, Reader, WatchFlags},
    io::Errno,
};

use crate::random::Random;

/// A folder of them.
pub struct Canaries {
    folder: PathBuf,
    mark: String,
    watch: OwnedFd,
}

impl Canaries {
    /// Makes a folder with a library, which would be worth to be probed, and with text under these names.
    pub fn lay(folder: PathBuf, library: &Path, names: &[&str]) -> Result<Self> {
        fs::create_dir(&folder)?;
        let mark = format!("canary-{:016x}", Random(u64::from(std::process::id()) + 1).number());
        for name in names {
            let mut file = fs::File::options();
            let mut file = file.write(true).create_new(true).mode(0o600).open(folder.join(name))?;
            writeln!(file, "{mark}")?;
        }
        let name = library.file_name().context("a library without a name")?;
        fs::copy(library, folder.join(name))?;
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        inotify::add_watch(&watch, &folder, WatchFlags::OPEN | WatchFlags::ACCESS)?;
        Ok(Self { folder, mark, watch })
    }

    /// Where they are.
    pub fn folder(&self) -> Result<&str> {
        self.folder.to_str().context("a path that is not UTF-8")
    }

    /// What is in each of them, and nowhere else.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Holds them to be untouched until now; then touches one to show that this would have been seen.
    pub fn untouched(&self) -> Result<()> {
        let touched = self.touched()?;
        ensure!(touched.is_empty(), "files of the host were opened: {touched:?}");
        drop(fs::read_dir(&self.folder)?);
        ensure!(!self.touched()?.is_empty(), "the kernel does not tell who opens what");
        Ok(())
    }

    fn touched(&self) -> Result<Vec<String>> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.watch, &mut buffer);
        let mut names = Vec::new();
        loop {
            match reader.next() {
                Ok(event) => names.push(format!("{:?} {:?}", event.file_name(), event.events())),
                Err(Errno::AGAIN) => return Ok(names),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
