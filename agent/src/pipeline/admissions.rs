//! What is told of processes whose library was not probed from the beginning: one line a process, and a
//! bounded number for each home, since anybody can start as many programs as they like.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::unprobed::MAX_REMEMBERED;
use crate::{
    discover::Mapping,
    enrich::{Home, Names},
};

/// What became of a library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It was probed only after the process had mapped it.
    Late,
    /// It was not there any more when it was to be looked at, or the process was not.
    Gone,
}

impl Admission {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Late => {
                "probed only after it was mapped; the first calls of this process may be missing"
            }
            Self::Gone => "gone before it was looked at; the calls of this process may be missing",
        }
    }
}

/// So long are the lines of a home counted together.
const WINDOW: Duration = Duration::from_secs(60);
/// How many there may be.
const LINES: u32 = 100;
/// Homes that are counted.
const HOMES: usize = 1_024;

/// Whether a line may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Granted,
    /// It is the last of this home for some time, which must be said.
    Last,
    Refused,
}

/// Writes the lines.
#[derive(Debug, Default)]
pub(super) struct Admissions {
    /// Processes that were told.
    told: HashSet<u32>,
    homes: HashMap<Home, (Instant, u32)>,
}

impl Admissions {
    /// Tells what became of a library that a process has mapped.
    pub(super) fn tell(&mut self, names: &Names, pid: u32, mapping: &Mapping, what: Admission) {
        if self.told.len() == MAX_REMEMBERED {
            self.told.clear();
        }
        if !self.told.insert(pid) {
            return;
        }
        let line = self.line(names.home(pid), Instant::now());
        if line == Line::Refused {
            return;
        }
        let (process, container, _) = names.process_and_container(pid);
        let name = container.as_ref().and_then(|found| found.name.as_ref().or(found.id.as_ref()));
        tracing::warn!(
            pid,
            command = process.command,
            container = name,
            path = ?mapping.path.as_container_path(),
            "{}", what.as_str()
        );
        if line == Line::Last {
            tracing::warn!(
                container = name,
                "{LINES} such processes in a minute; more of this container are not told for the rest of it"
            );
        }
    }

    /// The process ended, or became another program.
    pub(super) fn forget(&mut self, pid: u32) {
        self.told.remove(&pid);
    }

    fn line(&mut self, home: Home, now: Instant) -> Line {
        let over = |since: Instant| now.saturating_duration_since(since) >= WINDOW;
        if self.homes.len() >= HOMES {
            self.homes.retain(|_, (since, _)| !over(*since));
        }
        // So many homes in a minute are an attack, or a node where one line more or less does not matter.
        if self.homes.len() >= HOMES && !self.homes.contains_key(&home) {
            return Line::Refused;
        }
        let (since, lines) = self.homes.entry(home).or_insert((now, 0));
        if over(*since) {
            (*since, *lines) = (now, 0);
        }
        *lines = lines.saturating_add(1);
        match *lines {
            LINES => Line::Last,
            lines if lines < LINES => Line::Granted,
            _ => Line::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(name: impl ToString) -> Home {
        Home::Root { name: name.to_string() }
    }

    #[test]
    fn who_starts_many_programs_does_not_fill_the_log() {
        let mut admissions = Admissions::default();
        let begun = Instant::now();
        let mut line = |name: &str, after: Duration| admissions.line(home(name), begun + after);
        let granted = (1..LINES).filter(|_| line("many", Duration::ZERO) == Line::Granted);
        assert_eq!(granted.count(), LINES as usize - 1);
        assert_eq!(line("many", Duration::ZERO), Line::Last);
        assert_eq!(line("many", WINDOW / 2), Line::Refused);
        assert_eq!(line("other", WINDOW / 2), Line::Granted);
        assert_eq!(line("many", WINDOW), Line::Granted);
    }

    #[test]
    fn there_is_a_bound_on_the_homes() {
        let mut admissions = Admissions::default();
        let now = Instant::now();
        for number in 0..HOMES {
            assert_eq!(admissions.line(home(number), now), Line::Granted);
        }
        assert_eq!(admissions.line(home("one more"), now), Line::Refused);
        assert_eq!(admissions.line(home("one more"), now + WINDOW), Line::Granted);
        assert_eq!(admissions.homes.len(), 1);
    }
}
