//! Holds the agent to its limits: asks each second what it takes, and carries out the steps that follow.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc::UnboundedSender,
    time::{self, MissedTickBehavior},
};

use super::{hooking::Asked, hooks::report};
use crate::{
    attach::Copying,
    capture::Connections,
    emit::Notice,
    limits::{
        Ladder, Level, Limits, Reached, Step,
        usage::{Gauge, give_back},
    },
};

/// How often usage is looked at: what [`crate::limits`] counts in.
const TICK: Duration = Duration::from_secs(1);

/// What steps are carried out with.
pub(super) struct Limiting {
    pub(super) limits: Limits,
    /// For the kernel half.
    pub(super) copying: Copying,
    /// For the hooking thread.
    pub(super) hooks: Asked,
    pub(super) connections: Connections,
    /// For those who read the output.
    pub(super) notices: UnboundedSender<Notice>,
    /// For those who ask.
    pub(super) reached: Arc<Reached>,
}

impl Limiting {
    /// Does so for as long as it is awaited, from now on: what it took to begin is not judged.
    pub(super) async fn run(mut self, say: impl Fn(&str)) {
        if !self.limits.is_any() {
            return std::future::pending().await;
        }
        let mut ticks = time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let (mut gauge, mut ladder) = (Gauge::start(), Ladder::new(self.limits));
        loop {
            ticks.tick().await;
            if self.limits.memory.is_some() && !self.reached.is_at(Level::Full) {
                give_back();
            }
            let usage = gauge.look();
            tracing::debug!(cpu = usage.cpu, memory = usage.memory, "usage");
            if let Some(step) = ladder.tick(usage) {
                say(&format!("limit: {step}"));
                self.take(step).await;
            }
        }
    }

    async fn take(&mut self, step: Step) {
        // First: it holds at once, whatever the hooking thread is at.
        if let Err(error) = self.copying.set(step.to) {
            tracing::error!(error = %report(&error), "the kernel half was not told of a limit");
        }
        self.reached.reach(step.to);
        // Nobody takes it when the agent is ending.
        let _ = self.notices.send(Notice::now(step));
        if step.to == Level::Detached {
            self.hooks.pause(self.connections.clone()).await;
        } else if step.from == Level::Detached {
            self.hooks.resume().await;
        }
    }
}
