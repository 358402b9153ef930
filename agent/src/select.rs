//! Filters: which processes are of interest.
//!
//! Those of one kind are alternatives; those of different kinds must all hold.

use crate::{
    attach::Verdict,
    enrich::{Container, Process},
};

/// The filters of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filters {
    /// Container names, or beginnings of ids.
    pub containers: Vec<String>,
    /// Process ids, as the host numbers them.
    pub pids: Vec<u32>,
    /// Command names, of processes or threads.
    pub commands: Vec<String>,
}

/// The shortest beginning of a container id that is taken as one.
const SHORTEST_ID: usize = 4;

impl Filters {
    /// Whether everything is of interest.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a process, or a call by one of its threads, is of interest.
    pub fn select(
        &self,
        process: &Process,
        container: Option<&Container>,
        thread: Option<&str>,
    ) -> bool {
        self.select_process(process, container)
            && (self.named(process.command.as_deref()) || self.named(thread))
    }

    /// What the kernel half is to do with a process of which nothing more will become known.
    pub fn verdict(&self, process: &Process, container: Option<&Container>) -> Verdict {
        if !self.select_process(process, container) {
            Verdict::Ignore
        } else if self.named(process.command.as_deref()) {
            Verdict::Trace
        } else {
            // A thread of it may bear the name.
            Verdict::ByThread
        }
    }

    fn select_process(&self, process: &Process, container: Option<&Container>) -> bool {
        let wanted = |name: &String| container.is_some_and(|container| is(container, name));
        (self.pids.is_empty() || self.pids.contains(&process.pid))
            && (self.containers.is_empty() || self.containers.iter().any(wanted))
    }

    fn named(&self, name: Option<&str>) -> bool {
        self.commands.is_empty()
            || name.is_some_and(|name| self.commands.iter().any(|wanted| wanted == name))
    }
}

fn is(container: &Container, wanted: &str) -> bool {
    container.name.as_deref() == Some(wanted)
        || (wanted.len() >= SHORTEST_ID
            && container.id.as_deref().is_some_and(|id| id.starts_with(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(filters: &Filters, thread: &str, expect: bool) {
        let process = Process { pid: 41, command: Some("curl".into()), executable: None };
        let container = Container {
            id: Some("0123456789ab".into()),
            name: Some("web".into()),
            ..Container::default()
        };
        assert_eq!(filters.select(&process, Some(&container), Some(thread)), expect, "{filters:?}");
        assert!(Filters::default().select(&process, None, None));
    }

    #[test]
    fn filters_combine() {
        let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let by = |containers: &[&str], pids: &[u32], commands: &[&str]| Filters {
            containers: names(containers),
            pids: pids.to_vec(),
            commands: names(commands),
        };
        check(&by(&[], &[], &[]), "x", true);
        check(&by(&["web"], &[], &[]), "x", true);
        check(&by(&["db", "web"], &[], &[]), "x", true);
        check(&by(&["0123"], &[], &[]), "x", true);
        check(&by(&["012"], &[], &[]), "x", false);
        check(&by(&["we"], &[], &[]), "x", false);
        check(&by(&["web"], &[42], &[]), "x", false);
        check(&by(&["web"], &[41], &["curl"]), "x", true);
        check(&by(&[], &[], &["worker"]), "worker", true);
        check(&by(&[], &[], &["worker"]), "x", false);
    }
}
