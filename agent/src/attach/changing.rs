//! Nothing may end the agent while a link is being made or dropped.
//!
//! To put a probe into a process, and to take it out again, the kernel looks up its memory, and gives up when
//! the thread that asks is being killed (`fatal_signal_pending` in mm/gup.c), as all threads are
//! when one ends the process. What it has put there by then stays, for as long as the probed process lives:
//! `failed to unregister, leaking uprobe` (kernel/events/uprobes.c, Linux 6.18).

use std::{
    mem,
    sync::{PoisonError, RwLock, RwLockReadGuard},
    thread,
    time::{Duration, Instant},
};

static CHANGING: RwLock<()> = RwLock::new(());

/// While this lives, the calling thread makes or drops a link.
pub(super) fn change() -> RwLockReadGuard<'static, ()> {
    CHANGING.read().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until no link is being made or dropped, and keeps others from being, until the agent ends.
/// But not for longer than `limit`.
pub fn hold_still(limit: Duration) {
    const PAUSE: Duration = Duration::from_millis(1);
    let end = Instant::now() + limit;
    loop {
        if let Ok(still) = CHANGING.try_write() {
            mem::forget(still);
            return;
        }
        if Instant::now() >= end {
            tracing::warn!("a probe is still being attached or detached; it may stay where it is");
            return;
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_changes_but_not_for_ever() {
        let changing = change();
        hold_still(Duration::from_millis(2));
        assert!(CHANGING.try_read().is_ok(), "held still over a change");
        drop(changing);
        hold_still(Duration::from_secs(10));
        assert!(CHANGING.try_read().is_err(), "a change goes on");
    }
}
