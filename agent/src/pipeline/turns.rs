//! Whose event is next: each container has its turn. What happens in one waits no longer for what happens
//! in another than a file takes to be looked at, however many files are mapped there and whatever is in
//! them.
//!
//! Comes in: events with the home of their process. Goes out: tasks, of one home in the order of its
//! events. Next is always the home that has had the least time, counted while anything waits. One in which
//! little happens has had some less than all others, so that it is next at once.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use super::hooks::Candidate;
use crate::{discover::Event, enrich::Home};

/// Events of one home that may wait; of what comes then, the processes are looked at.
const LINE: usize = 1_024;
/// So many processes of one home wait for that at most; others are found when all processes are looked at.
const MISSED: usize = 4_096;

/// How much less than those who always have something to do has had who had nothing to do.
const CREDIT: Duration = Duration::from_secs(1);
/// So many homes are remembered that have nothing to do.
const REMEMBERED: usize = 1_024;

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Something happened.
    Event(Event),
    /// A file may be a library that is mapped soon.
    Probe(Candidate),
    /// A process is to be looked at.
    Look(u32),
}

/// What waits, by home.
#[derive(Debug, Default)]
pub(super) struct Turns {
    lines: HashMap<Home, Line>,
    /// Whose turn it is.
    served: Home,
    /// How much time those have had who always have something to do.
    floor: Duration,
}

#[derive(Debug, Default)]
struct Line {
    tasks: VecDeque<Task>,
    missed: HashSet<u32>,
    spent: Duration,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.missed.is_empty()
    }

    fn next(&mut self) -> Option<Task> {
        self.tasks.pop_front().or_else(|| {
            let pid = self.missed.iter().next().copied()?;
            self.missed.remove(&pid);
            Some(Task::Look(pid))
        })
    }
}

impl Turns {
    /// Adds what happened.
    pub(super) fn event(&mut self, home: Home, event: Event) {
        let line = self.line(home);
        match event.pid() {
            Some(pid) if line.tasks.len() >= LINE => {
                if line.missed.len() < MISSED {
                    line.missed.insert(pid);
                }
            }
            _ => line.tasks.push_back(Task::Event(event)),
        }
    }

    /// Adds files that may be libraries.
    pub(super) fn probe(&mut self, home: Home, files: Vec<Candidate>) {
        if !files.is_empty() {
            self.line(home).tasks.extend(files.into_iter().map(Task::Probe));
        }
    }

    /// Adds a process that is to be looked at.
    pub(super) fn look(&mut self, home: Home, pid: u32) {
        self.line(home).missed.insert(pid);
    }

    fn line(&mut self, home: Home) -> &mut Line {
        let least = self.floor.saturating_sub(CREDIT);
        if self.lines.len() >= REMEMBERED {
            self.lines.retain(|_, line| !line.is_empty() || line.spent > least);
        }
        let line = self.lines.entry(home).or_default();
        if line.is_empty() {
            line.spent = line.spent.max(least);
        }
        line
    }

    /// What is to be done next.
    pub(super) fn next(&mut self) -> Option<Task> {
        let waiting = self.lines.iter_mut().filter(|(_, line)| !line.is_empty());
        let Some((home, line)) = waiting.min_by_key(|(_, line)| line.spent) else {
            *self = Self::default();
            return None;
        };
        let task = line.next();
        self.served = home.clone();
        self.floor = self.floor.max(line.spent);
        task
    }

    /// What was given last took so long.
    pub(super) fn took(&mut self, time: Duration) {
        if let Some(line) = self.lines.get_mut(&self.served) {
            line.spent += time;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTLY: Duration = Duration::from_millis(70);
    const CHEAP: Duration = Duration::from_micros(50);

    fn home(name: &str) -> Home {
        Home::Root { name: name.to_owned() }
    }

    fn exited(pid: u32) -> Event {
        Event::Exited { pid }
    }

    fn push(turns: &mut Turns, name: &str, pid: u32) {
        turns.event(home(name), exited(pid));
    }

    #[test]
    fn who_costs_much_delays_others_by_one_task() {
        let mut turns = Turns::default();
        for flood in 0..26 {
            (0..100).for_each(|_| push(&mut turns, &flood.to_string(), flood));
        }
        for _ in 0..1_000 {
            assert!(turns.next().is_some());
            turns.took(COSTLY);
        }
        (0..40).for_each(|pid| push(&mut turns, "quiet", 1_000 + pid));
        let mut order = Vec::new();
        let mut delay = Duration::ZERO;
        while order.len() < 40 {
            let Some(Task::Event(Event::Exited { pid })) = turns.next() else { panic!("no task") };
            if pid >= 1_000 {
                order.push(pid);
            }
            let time = if pid >= 1_000 { CHEAP } else { COSTLY };
            delay += time;
            turns.took(time);
        }
        assert_eq!(order, (1_000..1_040).collect::<Vec<_>>());
        assert!(delay < COSTLY, "{delay:?}");
    }

    #[test]
    fn who_comes_back_owes_what_it_has_had() {
        let mut turns = Turns::default();
        let mut had = [0; 2];
        for _ in 0..1_000 {
            // One always has something to do; the other as soon as it has nothing.
            push(&mut turns, "always", 0);
            if turns.lines.get(&home("again")).is_none_or(Line::is_empty) {
                push(&mut turns, "again", 1);
            }
            let Some(Task::Event(Event::Exited { pid })) = turns.next() else { panic!("no task") };
            had[pid as usize] += 1;
            turns.took(COSTLY);
        }
        let [always, again] = had;
        // A second's worth of tasks more, and the one that it is at.
        assert!(again < always + 16, "{had:?}");
    }

    #[test]
    fn who_has_nothing_to_do_is_forgotten() {
        let mut turns = Turns::default();
        for number in 0..REMEMBERED * 2 {
            push(&mut turns, "always", 0);
            push(&mut turns, "always", 0);
            push(&mut turns, &number.to_string(), 1);
            assert!(turns.next().is_some() && turns.next().is_some());
            turns.took(COSTLY);
        }
        assert!(turns.lines.len() < REMEMBERED + 100, "{}", turns.lines.len());
        while turns.next().is_some() {}
        assert_eq!(turns.lines.len(), 0);
    }

    #[test]
    fn what_is_too_much_is_looked_at_by_process() {
        let mut turns = Turns::default();
        (0..LINE).for_each(|_| push(&mut turns, "many", 1));
        (0..100).for_each(|_| push(&mut turns, "many", 2));
        turns.event(home("many"), Event::Unmounted { id: 3 });
        turns.look(home("many"), 4);
        for _ in 0..LINE {
            assert_eq!(turns.next(), Some(Task::Event(exited(1))));
        }
        assert_eq!(turns.next(), Some(Task::Event(Event::Unmounted { id: 3 })));
        let mut looked = [turns.next(), turns.next()];
        looked.sort_by_key(|task| matches!(task, Some(Task::Look(4))));
        assert_eq!(looked, [Some(Task::Look(2)), Some(Task::Look(4))]);
        assert_eq!(turns.next(), None);
    }
}
