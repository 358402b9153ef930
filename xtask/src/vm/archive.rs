//! An archive that the kernel unpacks into its first root: cpio, "newc"
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::{Context as _, Result};

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const LINK: u32 = 0o120_777;

/// An archive in the making.
pub(super) struct Archive {
    output: BufWriter<File>,
    written: u64,
    inode: u32,
    /// What is in it, by path.
    paths: BTreeSet<String>,
}

impl Archive {
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("failed to create {}", path.display()))?;
        Ok(Self { output: BufWriter::new(file), written: 0, inode: 0, paths: BTreeSet::new() })
    }

    /// Adds a file that can be executed, with the folders that it is in; one that is there stays.
    pub(super) fn file(&mut self, path: &str, contents: &[u8]) -> Result<()> {
        self.folders_of(path)?;
        self.entry(path, PROGRAM, contents)
    }

    /// Adds a file of this machine.
    pub(super) fn copy(&mut self, from: &Path, path: &str) -> Result<()> {
        if self.paths.contains(path) {
            return Ok(());
        }
        let contents =
            fs::read(from).with_context(|| format!("failed to read {}", from.display()))?;
        self.file(path, &contents)
    }

    /// Adds an empty folder.
    pub(super) fn folder(&mut self, path: &str) -> Result<()> {
        self.folders_of(path)?;
        self.entry(path, FOLDER, &[])
    }

    /// Adds a symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) -> Result<()> {
        self.folders_of(path)?;
        self.entry(path, LINK, target.as_bytes())
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.entry("/TRAILER!!!", 0, &[])?;
        self.output.flush().context("failed to write the archive")
    }

    fn folders_of(&mut self, path: &str) -> Result<()> {
        for (end, _) in path.match_indices('/').filter(|(end, _)| *end > 0) {
            if let Some(folder) = path.get(..end) {
                self.entry(folder, FOLDER, &[])?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, path: &str, mode: u32, contents: &[u8]) -> Result<()> {
        if self.paths.insert(path.to_owned()) {
            self.write(path.trim_start_matches('/'), mode, contents)
                .context("failed to write the archive")?;
        }
        Ok(())
    }

    fn write(&mut self, name: &str, mode: u32, contents: &[u8]) -> io::Result<()> {
        self.inode += 1;
        let (links, size) = (1, u32::try_from(contents.len()).map_err(io::Error::other)?);
        let name_size = u32::try_from(name.len() + 1).map_err(io::Error::other)?;
        // Inode, mode, owner, group, links, time, size, two devices, size of the name, checksum.
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0]
            .map(|field| format!("{field:08x}"));
        self.put(format!("070701{}{name}\0", fields.concat()).as_bytes())?;
        self.align()?;
        self.put(contents)?;
        self.align()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.output.write_all(bytes)
    }

    /// Names and contents begin at multiples of four.
    fn align(&mut self) -> io::Result<()> {
        while !self.written.is_multiple_of(4) {
            self.put(&[0])?;
        }
        Ok(())
    }
}
