//! Entries in, a file out.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use zstd::stream::write::Encoder;

use super::{Asked, Entry, MAGIC, MAX_ENTRY, VERSION};
use crate::{
    capture::{Chunk, Losses},
    enrich::Note,
};

/// The fastest of zstd's that are worth it: a tenth of the time that decoding takes.
const LEVEL: i32 = 1;

/// Writes a recording. The first failure ends it, and is kept until [`Recorder::finish`]: the
/// trace goes on.
pub(crate) struct Recorder {
    path: PathBuf,
    out: io::Result<Encoder<'static, File>>,
    entry: Vec<u8>,
    /// Whether there is something to flush.
    dirty: bool,
}

impl Recorder {
    /// Makes a file that only its owner can read. A file of this name is replaced, never written
    /// to: neither who has it open nor who is linked to it sees anything. What is no regular file
    /// stays, and is an error.
    pub(crate) fn create(path: &Path, asked: Asked) -> io::Result<Self> {
        let mut file = replace(path)?;
        writeln!(file, "{MAGIC}{VERSION} {}", env!("CARGO_PKG_VERSION"))?;
        let mut out = Encoder::new(file, LEVEL)?;
        out.include_checksum(true)?;
        let mut recorder =
            Self { path: path.to_owned(), out: Ok(out), entry: Vec::new(), dirty: false };
        recorder.add(&Entry::Start(asked));
        recorder.flush();
        Ok(recorder)
    }

    /// Adds a chunk.
    pub(crate) fn chunk(&mut self, chunk: &Chunk) {
        self.add(&Entry::Chunk(chunk.clone()));
    }

    /// Adds notes.
    pub(crate) fn notes(&mut self, notes: Vec<Note>) {
        for note in notes {
            self.add(&Entry::Note(note));
        }
    }

    fn add(&mut self, entry: &Entry) {
        self.dirty = true;
        self.attempt(|out, buffer| write(out, buffer, entry));
    }

    /// Hands everything on to the file, so that it is there if the trace is killed.
    pub(crate) fn flush(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.attempt(|out, _| out.flush());
        }
    }

    /// Completes the recording; an error if some of it could not be written.
    pub(crate) fn finish(mut self, losses: Losses) -> io::Result<()> {
        self.add(&Entry::End(losses));
        self.out?.finish().map(drop)
    }

    fn attempt(
        &mut self,
        work: impl FnOnce(&mut Encoder<'static, File>, &mut Vec<u8>) -> io::Result<()>,
    ) {
        let Ok(out) = &mut self.out else { return };
        if let Err(error) = work(out, &mut self.entry) {
            let path = self.path.display();
            tracing::error!(%path, %error, "the recording ends here; tracing goes on");
            self.out = Err(error);
        }
    }
}

fn replace(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(existing) if existing.is_file() => fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::other("it exists, and is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Writes an entry: its length as four bytes, the least significant first, and its fields as
/// MessagePack, with their names.
pub(super) fn write(
    out: &mut impl io::Write,
    buffer: &mut Vec<u8>,
    entry: &Entry,
) -> io::Result<()> {
    buffer.clear();
    rmp_serde::encode::write_named(buffer, entry).map_err(io::Error::other)?;
    let length = u32::try_from(buffer.len()).ok().filter(|_| buffer.len() <= MAX_ENTRY);
    let length = length.ok_or_else(|| io::Error::other("an entry is too long"))?;
    out.write_all(&length.to_le_bytes())?;
    out.write_all(buffer)
}
