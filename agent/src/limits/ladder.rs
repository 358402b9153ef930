//! The usage of a second in, a step between levels out: nothing but arithmetic.

use super::{Cause, Level, Limits, Step, Usage};

/// Seconds whose mean is held against the limits.
pub(super) const WINDOW: usize = 2;
/// Seconds of calm until the first step down.
pub(super) const FIRST_HOLD: u32 = 5;
/// The most that they become.
pub(super) const LAST_HOLD: u32 = 300;
/// A step up within so many seconds of a step down is a relapse; so many seconds at the lowest level
/// make relapses forgotten.
pub(super) const MEMORY: u32 = 600;
/// Seconds that are not judged when probes have been put on again: that takes processor time itself.
const SETTLING: u32 = 3;
/// Below this share of the processor time that is allowed, usage is calm.
const CALM_CPU: f64 = 0.5;
/// Likewise of memory, in per cent. What was allocated once is not all given back, and some of it is
/// needed at any level.
const CALM_MEMORY: u64 = 80;

/// At which level the agent is, and what it remembers of how it came there.
#[derive(Debug)]
pub struct Ladder {
    limits: Limits,
    level: Level,
    /// The last seconds at this level, `WINDOW` at most.
    recent: Vec<Usage>,
    /// Seconds of calm in a row; while detached, all of them.
    calm: u32,
    /// Seconds of calm that a step down needs.
    hold: u32,
    /// Seconds since the last step down.
    since_down: Option<u32>,
    /// Seconds at the lowest level.
    rest: u32,
    /// Seconds that are not judged yet.
    settling: u32,
}

impl Ladder {
    /// One that is at [`Level::Full`].
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            level: Level::Full,
            recent: Vec::new(),
            calm: 0,
            hold: FIRST_HOLD,
            since_down: None,
            rest: 0,
            settling: 0,
        }
    }

    /// Takes what the agent took in the last second. Gives the step that follows, if one does.
    pub fn tick(&mut self, usage: Usage) -> Option<Step> {
        self.since_down = self.since_down.map(|seconds| seconds.saturating_add(1));
        if self.level == Level::Detached {
            return self.try_again(usage);
        }
        if self.settling > 0 {
            self.settling -= 1;
            return None;
        }
        let mean = self.mean(usage)?;
        if let Some(cause) = self.limits.exceeded_by(mean) {
            return Some(self.up(cause, mean));
        }
        if self.level == Level::Full {
            self.stay();
            return None;
        }
        self.calm = if self.limits.is_calm(mean) { self.calm + 1 } else { 0 };
        (self.calm >= self.hold).then(|| self.down(Cause::Calm, mean))
    }

    /// Of the last seconds, when they are enough.
    fn mean(&mut self, usage: Usage) -> Option<Usage> {
        if self.recent.len() == WINDOW {
            self.recent.remove(0);
        }
        self.recent.push(usage);
        let count = u32::try_from(WINDOW).ok().filter(|_| self.recent.len() == WINDOW)?;
        Some(Usage {
            cpu: self.recent.iter().map(|usage| usage.cpu).sum::<f64>() / f64::from(count),
            memory: self.recent.iter().map(|usage| usage.memory).sum::<u64>() / u64::from(count),
        })
    }

    /// Another second at the lowest level.
    fn stay(&mut self) {
        self.rest = self.rest.saturating_add(1);
        if self.rest >= MEMORY {
            self.hold = FIRST_HOLD;
        }
    }

    /// While detached, usage says nothing but whether there is memory.
    fn try_again(&mut self, usage: Usage) -> Option<Step> {
        self.calm = self.calm.saturating_add(1);
        let room = self.limits.memory.is_none_or(|limit| usage.memory <= limit);
        (room && self.calm >= self.hold).then(|| self.down(Cause::Trial, usage))
    }

    fn up(&mut self, cause: Cause, usage: Usage) -> Step {
        if self.since_down.is_some_and(|seconds| seconds < MEMORY) {
            self.hold = (2 * self.hold).min(LAST_HOLD);
        }
        self.step(self.level.up(), cause, usage)
    }

    fn down(&mut self, cause: Cause, usage: Usage) -> Step {
        self.since_down = Some(0);
        self.settling = if self.level == Level::Detached { SETTLING } else { 0 };
        self.step(self.level.down(), cause, usage)
    }

    fn step(&mut self, to: Level, cause: Cause, usage: Usage) -> Step {
        let from = std::mem::replace(&mut self.level, to);
        self.recent.clear();
        self.calm = 0;
        self.rest = 0;
        Step { from, to, cause, usage, limits: self.limits }
    }
}

impl Limits {
    /// Whether there are any.
    pub const fn is_any(&self) -> bool {
        self.cpu.is_some() || self.memory.is_some()
    }

    /// At the highest level nothing more can be done, and the step is none.
    fn exceeded_by(&self, usage: Usage) -> Option<Cause> {
        if self.cpu.is_some_and(|limit| usage.cpu > limit) {
            return Some(Cause::Cpu);
        }
        self.memory.is_some_and(|limit| usage.memory > limit).then_some(Cause::Memory)
    }

    fn is_calm(&self, usage: Usage) -> bool {
        self.cpu.is_none_or(|limit| usage.cpu < CALM_CPU * limit)
            && self.memory.is_none_or(|limit| usage.memory / CALM_MEMORY < limit / 100)
    }
}
