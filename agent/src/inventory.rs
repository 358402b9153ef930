//! What `tlstap list` tells: one finding for each process and TLS library.

use std::sync::Arc;

use crate::{
    enrich::{Container, Library, Process},
    resolve::{FileKey, Probe, Reason},
};

/// A process with TLS code, or one that could not be looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The process.
    pub process: Arc<Process>,
    /// Its container; absent on the host.
    pub container: Option<Arc<Container>>,
    /// The library; absent when the process could not be looked at.
    pub library: Option<Library>,
    /// Whether it is hooked.
    pub status: Status,
    /// The real file behind the library's path.
    pub file: Option<FileKey>,
}

/// Whether a library in a process is hooked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// With these probes.
    Hooked(Vec<Probe>),
    /// Not at all, for this reason.
    Skipped(Reason),
}
