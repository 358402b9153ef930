//! Looks at processes for those who may not do so themselves: what decodes can open no file.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
};

use super::{Processes, processes::Known};
use crate::privilege::{self, Part};

/// A process that is asked for, and who wants to know.
type Question = (u32, SyncSender<Arc<Known>>);

/// A thread that reads /proc. It ends with the last of its clients.
#[derive(Clone, Debug)]
pub struct Clerk {
    processes: Arc<Processes>,
    questions: Sender<Question>,
}

impl Clerk {
    /// Starts one.
    pub fn start(processes: &Arc<Processes>) -> io::Result<Self> {
        let (questions, asked) = channel();
        let reads = Arc::clone(processes);
        let work = move || answer(&reads, &asked);
        thread::Builder::new().name("tlstap-proc".to_owned()).spawn(work)?;
        Ok(Self { processes: Arc::clone(processes), questions })
    }

    /// What is known about a process; if it was not seen before, waits until it was looked at.
    pub(super) fn know(&self, pid: u32) -> Arc<Known> {
        if let Some(known) = self.processes.known(pid) {
            return known;
        }
        let (answer, answered) = sync_channel(1);
        let asked = self.questions.send((pid, answer)).is_ok();
        let known = if asked { answered.recv().ok() } else { None };
        known.unwrap_or_default()
    }
}

fn answer(processes: &Processes, asked: &Receiver<Question>) {
    privilege::keep(Part::Processes);
    while let Ok((pid, answer)) = asked.recv() {
        // The agent is ending if nobody waits.
        let _ = answer.send(processes.know(pid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_looked_at_once() {
        let processes = Arc::new(Processes::new("/proc"));
        let clerk = Clerk::start(&processes).unwrap();
        let own = std::process::id();
        assert!(processes.known(own).is_none());
        let known = clerk.know(own);
        assert_eq!(known.process.pid, own);
        assert!(known.process.executable.is_some());
        assert!(Arc::ptr_eq(&known, &processes.known(own).unwrap()));
        assert!(Arc::ptr_eq(&known, &clerk.know(own)));
    }
}
