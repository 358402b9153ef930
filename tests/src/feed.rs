//! Lines that a child writes, as they come.

use std::{
    io::{BufRead as _, BufReader, Read},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// The lines of one pipe. A thread reads them; it ends with the pipe.
#[derive(Clone)]
pub struct Feed(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

impl Feed {
    /// Reads all lines of a pipe.
    pub fn read(pipe: impl Read + Send + 'static) -> Self {
        Self::head(pipe, usize::MAX)
    }

    /// Reads `count` lines of a pipe, then closes it, as `head` does.
    pub fn head(pipe: impl Read + Send + 'static, count: usize) -> Self {
        let feed = Self(Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() }));
        let writer = feed.clone();
        thread::spawn(move || writer.fill(pipe, count));
        feed
    }

    fn fill(&self, pipe: impl Read, count: usize) {
        for line in BufReader::new(pipe).split(b'\n').take(count) {
            let Ok(line) = line else { break };
            self.state().lines.push(String::from_utf8_lossy(&line).into_owned());
            self.0.changed.notify_all();
        }
        self.state().ended = true;
        self.0.changed.notify_all();
    }

    /// The lines from number `from` on.
    pub fn from(&self, from: usize) -> Vec<String> {
        self.state().lines.get(from..).unwrap_or_default().to_vec()
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.from(0)
    }

    /// Waits until there are more than `seen` lines, the pipe ends, or the deadline passes.
    /// Returns whether there can be something new.
    pub fn grew(&self, seen: usize, deadline: Instant) -> bool {
        let more = |state: &State| state.lines.len() > seen;
        more(&self.wait(deadline, |state| more(state) || state.ended))
    }

    /// Whether the pipe's other end was closed by everyone within the limit.
    pub fn ended(&self, limit: Duration) -> bool {
        self.wait(Instant::now() + limit, |state| state.ended).ended
    }

    /// The state when it is as wanted, or at the deadline.
    fn wait(&self, deadline: Instant, done: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.state();
        while !done(&state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = match self.0.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        state
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
