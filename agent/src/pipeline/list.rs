//! `tlstap list`: every process with TLS code, and whether it can be hooked.

use std::{
    cell::OnceCell,
    collections::{HashMap, HashSet},
    io,
    path::Path,
    time::Duration,
};

use tokio::time::Instant;

use super::{hooks::report, versions};
use crate::{
    attach::{Guard, ReturnProbes},
    discover::{self, Mapping, MapsError},
    enrich::{Library, Names},
    inventory::{Finding, Status},
    resolve::{self, FileKey, Given, OpenError, Place, RealFile, Reason, Resolution, Resolver},
};

/// How long container runtimes may take to name containers.
const NAMES: Duration = Duration::from_secs(1);

/// Looks at every process once, without probing anything. In order of process id.
pub async fn list(proc: &Path, symbols: Given, returns: ReturnProbes) -> io::Result<Vec<Finding>> {
    let (names, _runtimes) = Names::start(proc);
    let mut survey = Survey {
        proc,
        names: names.clone(),
        resolver: Resolver::new(proc, symbols),
        returns,
        guard: OnceCell::new(),
        resolved: HashMap::new(),
        unrelated: HashSet::new(),
    };
    let mut findings = Vec::new();
    let pids = discover::processes(proc)?;
    for pid in pids.into_iter().filter(|&pid| pid != std::process::id()) {
        survey.process(pid, &mut findings);
    }
    let deadline = Instant::now() + NAMES;
    for finding in &mut findings {
        finding.container = names.container_by(finding.process.pid, deadline).await;
    }
    Ok(findings)
}

struct Survey<'a> {
    proc: &'a Path,
    names: Names,
    resolver: Resolver,
    returns: ReturnProbes,
    /// What a trace may probe here, which is tried when there is something to probe.
    guard: OnceCell<Guard>,
    resolved: HashMap<FileKey, Resolution>,
    /// Files, as mapped, without TLS code.
    unrelated: HashSet<(u64, u64)>,
}

impl Survey<'_> {
    fn process(&mut self, pid: u32, findings: &mut Vec<Finding>) {
        match discover::mappings(self.proc, pid) {
            Ok(mappings) => {
                for mapping in mappings {
                    self.mapping(pid, &mapping, findings);
                }
            }
            Err(MapsError::Gone(_)) => {}
            Err(error) => {
                let reason = match error {
                    MapsError::Permission(_) => Reason::Permission,
                    _ => Reason::Unreadable,
                };
                tracing::debug!(error = %report(&error), "process not looked at");
                findings.push(self.finding(pid, None, Status::Skipped(reason), None));
            }
        }
    }

    fn mapping(&mut self, pid: u32, mapping: &Mapping, findings: &mut Vec<Finding>) {
        if mapping.inode.is_some_and(|inode| self.unrelated.contains(&inode)) {
            return;
        }
        let real = match resolve::open(self.proc, pid, mapping) {
            // The first is what the path means now.
            Ok(files) => files.into_iter().next(),
            Err(OpenError::Gone | OpenError::NotRegular) => None,
            Err(error) => {
                let reason = match error {
                    OpenError::Permission => Reason::Permission,
                    _ => Reason::Unreadable,
                };
                tracing::debug!(pid, error = %report(&error), "file not looked at");
                let library = library(None, mapping);
                findings.push(self.finding(pid, library, Status::Skipped(reason), None));
                None
            }
        };
        let Some(real) = real else { return };
        let resolve = || {
            let place = Place::of(self.proc, pid, mapping);
            let resolution = self.resolver.resolve(&real.file, Some(&place));
            guarded(self.guard.get_or_init(|| Guard::new(self.returns)), &real, resolution)
        };
        let resolution = self.resolved.entry(real.key).or_insert_with(resolve).clone();
        match resolution {
            Resolution::Unrelated => {
                self.unrelated.extend(mapping.inode);
            }
            Resolution::Skipped { name, reason } => {
                let library = library(name, mapping);
                let status = Status::Skipped(reason);
                findings.push(self.finding(pid, library, status, Some(real.key)));
            }
            Resolution::Library { name, probes } => {
                let version = versions::of_file_or_process(self.proc, pid, &real, name);
                let mut library = library(Some(name), mapping);
                if let (Some(library), Some((name, version))) = (&mut library, version) {
                    library.name = name.into();
                    library.version = Some(version);
                }
                let status = Status::Hooked(probes);
                findings.push(self.finding(pid, library, status, Some(real.key)));
            }
        }
    }

    fn finding(
        &self,
        pid: u32,
        library: Option<Library>,
        status: Status,
        file: Option<FileKey>,
    ) -> Finding {
        let process = self.names.process(pid);
        Finding { process, container: None, library, status, file }
    }
}

/// What a trace makes of it.
fn guarded(guard: &Guard, real: &RealFile, resolution: Resolution) -> Resolution {
    let Resolution::Library { name, probes } = &resolution else { return resolution };
    match guard.permit(real, probes) {
        Ok(()) => resolution,
        Err(refusal) => Resolution::Skipped { name: Some(name), reason: refusal.reason() },
    }
}

fn library(name: Option<&'static str>, mapping: &Mapping) -> Option<Library> {
    let path = mapping.path.to_string();
    Some(Library { name: name.unwrap_or("unknown").into(), version: None, path })
}
