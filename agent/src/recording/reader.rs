//! A file in, entries out. The file may be anybody's: nothing is allocated by what it says.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, ErrorKind, Read as _},
    path::Path,
};

use thiserror::Error;
use zstd::stream::read::Decoder;

use super::{Entry, MAGIC, MAX_ENTRY, VERSION};

/// The longest first line, in bytes.
const MAX_HEADING: u64 = 64;
/// The largest window of zstd that is accepted: 8 MiB. The recorder's is half a MiB.
const MAX_WINDOW_LOG: u32 = 23;

/// Why a file cannot be replayed at all.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("not a regular file; a recording is read twice")]
    NotRegular,
    #[error("not a recording: only files that `tlstap trace --record` wrote can be replayed")]
    NoRecording,
    #[error(
        "a recording of version {version}, made by tlstap {program}; this is tlstap {}, \
         which replays version {VERSION}",
        env!("CARGO_PKG_VERSION")
    )]
    Version { version: u32, program: String },
}

/// Why there are no more entries, though there was no [`Entry::End`].
#[derive(Debug, Error)]
pub(crate) enum Stop {
    /// The file ends: the trace was killed, or its disk was full.
    #[error("the recording is cut off")]
    Cut,
    /// What follows is not what was written.
    #[error("the recording is damaged after {entries} entries: {what}")]
    Damaged {
        /// How many could be read.
        entries: u64,
        /// Never a part of the file.
        what: String,
    },
    /// It could not be read.
    #[error(transparent)]
    Io(io::Error),
}

/// Reads a recording from its beginning.
pub(crate) struct Reader {
    input: Decoder<'static, BufReader<File>>,
    entry: Vec<u8>,
    entries: u64,
}

impl Reader {
    /// Opens a recording, and reads who wrote it.
    pub(crate) fn open(path: &Path) -> Result<Self, OpenError> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(OpenError::NotRegular);
        }
        let mut file = BufReader::with_capacity(64 << 10, file);
        let mut heading = Vec::new();
        file.by_ref().take(MAX_HEADING).read_until(b'\n', &mut heading)?;
        check(&heading)?;
        let mut input = Decoder::with_buffer(file)?;
        input.window_log_max(MAX_WINDOW_LOG)?;
        Ok(Self { input: input.single_frame(), entry: Vec::new(), entries: 0 })
    }

    /// The next entry. After [`Entry::End`], or an error, there is none.
    pub(crate) fn next(&mut self) -> Result<Entry, Stop> {
        let entry = self.read()?;
        self.entries += 1;
        if matches!(entry, Entry::End(_)) {
            // The checksum is behind the last byte.
            self.input.read(&mut [0]).map_err(|error| self.stop(error))?;
        }
        Ok(entry)
    }

    fn read(&mut self) -> Result<Entry, Stop> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length).map_err(|error| self.stop(error))?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_ENTRY {
            return Err(self.damaged("an entry is too long"));
        }
        self.entry.resize(length, 0);
        self.input.read_exact(&mut self.entry).map_err(|error| self.stop(error))?;
        // The error could quote plaintext.
        rmp_serde::from_slice(&self.entry)
            .map_err(|_quoting| self.damaged("an entry is not understood"))
    }

    fn stop(&self, error: io::Error) -> Stop {
        match error.kind() {
            ErrorKind::UnexpectedEof => Stop::Cut,
            _ if error.raw_os_error().is_some() => Stop::Io(error),
            // From zstd, which has fixed texts.
            _ => self.damaged(&error.to_string()),
        }
    }

    fn damaged(&self, what: &str) -> Stop {
        Stop::Damaged { entries: self.entries, what: what.to_owned() }
    }
}

/// Checks the first line: `tlstap recording 1 0.1.0`.
fn check(heading: &[u8]) -> Result<(), OpenError> {
    let rest = heading.strip_prefix(MAGIC.as_bytes()).ok_or(OpenError::NoRecording)?;
    let rest = rest.strip_suffix(b"\n").and_then(|rest| str::from_utf8(rest).ok());
    let (version, program) = rest.unwrap_or_default().split_once(' ').unwrap_or_default();
    match version.parse() {
        Ok(VERSION) => Ok(()),
        Ok(version) => {
            Err(OpenError::Version { version, program: program.escape_debug().to_string() })
        }
        Err(_no_number) => Err(OpenError::NoRecording),
    }
}
