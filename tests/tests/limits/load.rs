//! Programs that are made to go on and to stand still, and one that is too much for a limit.

use std::{
    fs,
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tlstap_tests::{
    agent::Agent,
    deadline,
    exact::{End, Exchange},
    node::Node,
    pace::{Cost, Pace},
    process::Load,
};

/// Starting one program after the other until its number is one that is wanted.
const TRIES: usize = 100;

/// For a program to get on, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// What a program of the fixtures does in its turn.
const TURN: Duration = Duration::from_millis(2);

/// Whether a process is one of those that are still copied at the level `sampled`: docs/limits.md.
pub(super) const fn is_sampled(pid: u32) -> bool {
    pid.wrapping_mul(0x9e37_79b9) < 1 << 30
}

/// Starts a program whose number is sampled, or is not.
pub(super) fn with_number<T>(
    sampled: bool,
    start: impl Fn() -> Result<T>,
    pid: fn(&T) -> u32,
) -> Result<T> {
    for _ in 0..TRIES {
        let program = start()?;
        if is_sampled(pid(&program)) == sampled {
            return Ok(program);
        }
    }
    Err(anyhow!("no program with a number that is wanted"))
}

fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).context("no pid")?;
    Ok(kill_process(pid, signal)?)
}

/// Processor time of all threads of a process.
fn processor_time(pid: u32) -> Result<Duration> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end meanwhile.
        let times = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
        sum += times.split(' ').next().and_then(|time| time.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(sum))
}

/// Makes calls for as long as it lives, more than a limit allows.
pub(super) struct Overload {
    pid: u32,
    thread: Option<JoinHandle<Result<Cost>>>,
}

/// A program for that, in a process that is traced up to the last level.
pub(super) fn ready(node: &Node) -> Result<Pace> {
    with_number(true, || node.pace(&[]), Pace::pid)
}

/// Calls a second: what the agent writes at any time on a busy machine too, so that it is the calls that it
/// works on and not those of before.
const RATE: u64 = 8_000;

/// Half of what an agent takes of a processor while a program makes its calls, in thousandths of a per cent.
pub(super) fn half_of(pace: &mut Pace, agent: &Agent) -> Result<u128> {
    let load = Load::of(agent.pid())?;
    pace.go_at(2 * RATE, RATE)?;
    Ok(load.share()? / 2)
}

impl Overload {
    /// Lets a program begin.
    pub(super) fn begin(mut pace: Pace) -> Self {
        let pid = pace.pid();
        Self { pid, thread: Some(thread::spawn(move || pace.go_at(1_000 * RATE, RATE))) }
    }

    /// Ends it; all its calls must have succeeded until now.
    pub(super) fn end(self) -> Result<()> {
        let ended = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
        ensure!(!ended, "the traced program has ended");
        Ok(())
    }
}

impl Drop for Overload {
    fn drop(&mut self) {
        // It may have ended.
        let _ = signal(self.pid, Signal::KILL);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A program that counts what it moves, and gets on in turns.
pub(super) struct Halting {
    pub(super) pid: u32,
    thread: JoinHandle<Result<(Exchange, Vec<End>)>>,
}

impl Halting {
    /// Begins, and stands still at once.
    pub(super) fn begin(mut exchange: Exchange) -> Result<Self> {
        let pid = exchange.pid();
        signal(pid, Signal::STOP)?;
        let thread = thread::spawn(move || {
            let ends = exchange.go()?;
            Ok((exchange, ends))
        });
        Ok(Self { pid, thread })
    }

    /// Lets it do a little: far from all.
    pub(super) fn turn(&self) -> Result<()> {
        let before = processor_time(self.pid)?;
        signal(self.pid, Signal::CONT)?;
        deadline::until("a program to get on", LIMIT, || {
            Ok((processor_time(self.pid)? >= before + TURN).then_some(()))
        })?;
        ensure!(!self.thread.is_finished(), "it has done all already: tests nothing");
        signal(self.pid, Signal::STOP)
    }

    /// Lets it do all that is left.
    pub(super) fn finish(self) -> Result<Vec<End>> {
        signal(self.pid, Signal::CONT)?;
        let done = self.thread.join().map_err(|_panic| anyhow!("a thread of the test panicked"))?;
        let (exchange, ends) = done?;
        exchange.end()?;
        Ok(ends)
    }
}
