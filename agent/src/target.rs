//! `CONTAINER|PID` in, the process to look through out.
//!
//! For commands that do one thing and end: nothing stays behind, no thread and no task. Which container
//! is meant is decided as for `--container`.

use std::{io, os::fd::OwnedFd, path::Path, sync::Arc, time::Duration};

use procfs::process::Process;
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    io::Errno,
    process::{Pid, PidfdFlags},
};
use thiserror::Error;

use crate::{
    discover,
    enrich::{self, Container, Running},
    select,
};

/// How long container runtimes may take to name what runs.
const NAMES: Duration = Duration::from_secs(2);
/// The same while somebody waits for a completion.
const COMPLETION: Duration = Duration::from_millis(500);

/// The process that stands for what the user named.
#[derive(Debug)]
pub struct Target {
    /// As the host numbers it.
    pub pid: u32,
    /// The process itself, whatever its number means later.
    pub pidfd: OwnedFd,
    /// Its container; absent on the host.
    pub container: Option<Arc<Container>>,
}

impl Target {
    /// Whether the process still lives: what was read under its number until then was its own.
    pub fn is_alive(&self) -> bool {
        let mut ended = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(rustix::event::poll(&mut ended, Some(&Timespec::default())), Ok(0))
    }
}

/// Why nothing is meant.
#[derive(Debug, Error)]
pub enum FindError {
    /// No process and no container.
    #[error("{}", unknown(.wanted, *.unnamed))]
    Unknown {
        /// What the user wrote.
        wanted: String,
        /// Containers of which only the id is known.
        unnamed: usize,
    },
    /// Several containers.
    #[error(
        "'{}' may be any of {}; write the beginning of an id, or a process id",
        .wanted.escape_debug(), .candidates.join(", ")
    )]
    Ambiguous {
        /// What the user wrote.
        wanted: String,
        /// The containers, for people.
        candidates: Vec<String>,
    },
    /// A container that is being started, or that is ending.
    #[error(
        "container '{}' has no process in a root of its own at this moment; try again",
        .0.escape_debug()
    )]
    Unsettled(String),
    /// Only root may look at processes of others.
    #[error("not permitted to look at process {0}; run as root (CAP_SYS_PTRACE is needed)")]
    Permission(u32),
    /// The kernel did not answer.
    #[error("failed to {0}")]
    System(&'static str, #[source] io::Error),
}

fn unknown(wanted: &str, unnamed: usize) -> String {
    let shown = wanted.escape_debug();
    let mut text = match wanted.parse::<u32>() {
        Ok(_) => format!("no process {shown}, and no running container of that name or id"),
        Err(_) => format!("no running container has the name '{shown}', or an id that begins so"),
    };
    if unnamed > 0 {
        text.push_str(&format!(" (no runtime tells the name of {unnamed} that run)"));
    }
    text
}

/// Finds what is meant: the number of a process that lives, or the name of a running container or the
/// beginning of its id. Must not be called in a tokio runtime.
pub fn find(proc: &Path, wanted: &str) -> Result<Target, FindError> {
    if let Some(target) = process(proc, wanted)? {
        return Ok(target);
    }
    let running = wait_for(enrich::running(proc, NAMES))
        .and_then(|running| running)
        .map_err(|error| FindError::System("list processes", error))?;
    let container = choose(wanted, &running)?;
    first_process(proc, container)
}

/// Names of running containers, each with a word about it; ids where a name is not enough. Must not be
/// called in a tokio runtime.
pub fn names(proc: &Path) -> Vec<(String, Option<String>)> {
    let Ok(Ok(running)) = wait_for(enrich::running(proc, COMPLETION)) else {
        return Vec::new();
    };
    let mut names: Vec<_> = running
        .iter()
        .filter_map(|Running { container, .. }| {
            let name = container.name.as_deref();
            let alone = |name: &&str| running.iter().filter(|one| is(one, name)).count() == 1;
            let id = container.short_id();
            let about = container.image.clone().or_else(|| container.runtime.clone());
            Some((name.filter(alone).or(id).or(name)?.to_owned(), about))
        })
        .collect();
    names.sort();
    names
}

/// Waits for what is done in a runtime; when it returns, that has ended with its threads.
pub(crate) fn wait_for<T>(future: impl Future<Output = T>) -> io::Result<T> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(future))
}

/// The process of this number, if the text is one.
fn process(proc: &Path, wanted: &str) -> Result<Option<Target>, FindError> {
    let Ok(pid) = wanted.parse::<u32>() else {
        return Ok(None);
    };
    let Some(pidfd) = open(pid)? else {
        return Ok(None);
    };
    let container = wait_for(enrich::container_of(proc, pid, NAMES))
        .map_err(|error| FindError::System("start the runtime", error))?;
    Ok(Some(Target { pid, pidfd, container }))
}

/// The container that is meant. A whole name goes before the beginning of an id, as with Docker.
fn choose<'a>(wanted: &str, running: &'a [Running]) -> Result<&'a Running, FindError> {
    let matching: Vec<_> = running.iter().filter(|one| is(one, wanted)).collect();
    let name = Some(wanted.trim_start_matches('/'));
    let named = matching.iter().copied().filter(|one| one.container.name.as_deref() == name);
    match (named.collect::<Vec<_>>().as_slice(), matching.as_slice()) {
        ([one], _) | ([], [one]) => Ok(one),
        ([], []) => {
            let unnamed = running.iter().filter(|one| one.container.name.is_none()).count();
            Err(FindError::Unknown { wanted: wanted.to_owned(), unnamed })
        }
        _ => {
            let candidates = matching.into_iter().map(shown).collect();
            Err(FindError::Ambiguous { wanted: wanted.to_owned(), candidates })
        }
    }
}

fn is(running: &Running, wanted: &str) -> bool {
    select::is(&running.container, wanted.trim_start_matches('/'))
}

/// A container by all that tells it from others.
fn shown(running: &Running) -> String {
    let container = &running.container;
    let pod = container.pod.as_ref().map(|pod| format!("{}/{}", pod.namespace, pod.name));
    let name = pod.into_iter().chain(container.name.clone()).collect::<Vec<_>>().join("/");
    let number = match (container.short_id(), running.pids.first()) {
        (Some(id), _) => id.to_owned(),
        (None, Some(pid)) => format!("process {pid}"),
        (None, None) => String::new(),
    };
    format!("{} ({number})", name.escape_debug())
}

/// The oldest process of a container, which is its first unless that one has ended. It has the
/// container's root: others may be in a root of their own, and those that a runtime has not put into
/// the container yet still have the host's.
fn first_process(proc: &Path, running: &Running) -> Result<Target, FindError> {
    let mut pids = running.pids.clone();
    pids.sort_by_cached_key(|&pid| started(proc, pid).unwrap_or(u64::MAX));
    for pid in pids {
        let Some(pidfd) = open(pid)? else { continue };
        let target = Target { pid, pidfd, container: Some(Arc::clone(&running.container)) };
        let inside = running.holds(proc, pid) && has_own_root(proc, pid)?;
        if inside && target.is_alive() {
            return Ok(target);
        }
    }
    Err(FindError::Unsettled(shown(running)))
}

/// When a process started, in ticks since the boot; `None` when it has ended.
fn started(proc: &Path, pid: u32) -> Option<u64> {
    let stat = Process::new_with_root(proc.join(pid.to_string())).ok()?.stat().ok()?;
    (!matches!(stat.state, 'Z' | 'X')).then_some(stat.starttime)
}

/// Whether a process has another root directory than the node.
fn has_own_root(proc: &Path, pid: u32) -> Result<bool, FindError> {
    let own = match discover::root(&proc.join(pid.to_string())) {
        Ok(own) => own,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return Err(FindError::Permission(pid));
        }
        // It has ended.
        Err(_) => return Ok(false),
    };
    let host = discover::root(&discover::host(proc))
        .map_err(|error| FindError::System("look at the node's root", error))?;
    Ok(own != host)
}

/// A process by its number; `None` when there is none.
fn open(pid: u32) -> Result<Option<OwnedFd>, FindError> {
    let Some(number) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return Ok(None);
    };
    match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Some(pidfd)),
        // The number of a thread, too, is no process's.
        Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(FindError::System("open the process", errno.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::Pod;

    fn running(name: &str, id: &str, pod: Option<&str>) -> Running {
        let pod = pod.map(|pod| Pod {
            name: pod.to_owned(),
            namespace: "shop".to_owned(),
            container: Some(name.to_owned()),
            uid: None,
        });
        Running::sample(Container {
            id: Some(id.repeat(16)),
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            pod,
            ..Container::default()
        })
    }

    #[track_caller]
    fn check(wanted: &str, expect: Result<&str, &str>) {
        let running = [
            running("web", "0123", None),
            running("4567", "89ab", None),
            running("", "4567", None),
            running("api", "cdef", Some("api-0")),
            running("api", "fedc", Some("api-1")),
        ];
        let found = choose(wanted, &running).map(|one| one.container.id.clone().unwrap());
        let found = found.map_err(|error| error.to_string());
        let expect = expect.map(|id| id.repeat(16)).map_err(str::to_owned);
        assert_eq!(found, expect);
    }

    #[test]
    fn by_name_or_the_beginning_of_an_id() {
        check("web", Ok("0123"));
        check("/web", Ok("0123"));
        check("012301", Ok("0123"));
        check("4567", Ok("89ab"));
        check("45674", Ok("4567"));
    }

    #[test]
    fn what_is_not_one_container_is_explained() {
        let unnamed = " (no runtime tells the name of 1 that run)";
        check(
            "w\u{1b}",
            Err(&format!(
                "no running container has the name 'w\\u{{1b}}', or an id that begins so{unnamed}"
            )),
        );
        check(
            "012",
            Err(&format!("no process 012, and no running container of that name or id{unnamed}")),
        );
        check(
            "api",
            Err(
                "'api' may be any of shop/api-0/api (cdefcdefcdef), shop/api-1/api (fedcfedcfedc); \
                 write the beginning of an id, or a process id",
            ),
        );
    }
}
