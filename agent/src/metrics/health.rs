//! Whether the agent's threads get on, and whether its first probes are in place.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::heartbeat::Heartbeat;

/// How long a thread may be at one thing: a file may lie on a slow disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// What liveness and readiness are told by.
#[derive(Debug, Default)]
pub struct Health {
    /// The reader of the ring buffer.
    pub ring: Arc<Heartbeat>,
    /// The thread that finds libraries and probes them.
    pub hooks: Arc<Heartbeat>,
    ready: AtomicBool,
}

impl Health {
    /// The first probes are in place.
    pub fn ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Whether they are.
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Which threads are stuck, a line each.
    pub(super) fn stuck(&self, now: Instant) -> String {
        let mut lines = String::new();
        for (name, heart) in [("ring reader", &self.ring), ("hooking thread", &self.hooks)] {
            let age = heart.age(now);
            if age > PATIENCE {
                // Writing to a string does not fail.
                let _ = writeln!(lines, "the {name} has been stuck for {} s", age.as_secs());
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_stuck_is_named() {
        let health = Health::default();
        health.ring.beat();
        health.hooks.rest();
        assert_eq!(health.stuck(Instant::now()), "");
        let later = Instant::now() + 2 * PATIENCE + Duration::from_millis(500);
        assert_eq!(health.stuck(later), "the ring reader has been stuck for 120 s\n");
        health.ring.rest();
        assert_eq!(health.stuck(later), "");
    }
}
