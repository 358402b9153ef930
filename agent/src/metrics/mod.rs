//! What the agent tells a monitoring system over HTTP (`--metrics`): `/metrics` in the text format
//! of Prometheus, `/healthz` and `/readyz`.
//!
//! Records in, numbers out. Labels are words of fixed lists, numbers, and the names that container
//! runtimes gave; never plaintext. How many label sets there are is bounded. Knows no stage's
//! inside: what they tell of themselves comes as [`State`].

mod address;
mod health;
mod own;
mod requests;
mod samples;
mod server;
mod state;
mod tally;
#[cfg(test)]
mod tests;
mod traffic;

use std::{
    sync::{Arc, OnceLock},
    time::{Instant, SystemTime},
};

use futures_util::future::BoxFuture;
use prometheus_client::{encoding::prometheus_text, registry::Registry};

pub use self::{
    address::Address,
    health::Health,
    server::{ListenError, Server},
    state::{Exported, Libraries, Ring, State},
    tally::Tally,
};
use self::{samples::Samples, traffic::Traffic};
use crate::capture::GapReason;

/// Asks the stages.
pub type Look = Box<dyn Fn() -> BoxFuture<'static, State> + Send + Sync>;

/// All that is told.
pub struct Metrics {
    started: SystemTime,
    traffic: Arc<Traffic>,
    /// There once the stages run.
    look: OnceLock<Look>,
}

impl Default for Metrics {
    fn default() -> Self {
        let (traffic, look) = (Arc::default(), OnceLock::new());
        Self { started: SystemTime::now(), traffic, look }
    }
}

impl Metrics {
    /// For one more stream of records.
    pub fn tally(&self) -> Tally {
        Tally::new(Arc::clone(&self.traffic))
    }

    /// From now on the stages are asked.
    pub fn watch(&self, look: Look) {
        // They are started once.
        let _ = self.look.set(look);
    }

    /// All metrics, as text.
    async fn text(&self) -> String {
        let state = match self.look.get() {
            Some(look) => Some(look().await),
            None => None,
        };
        text(self.started, &self.traffic, state)
    }
}

fn text(started: SystemTime, traffic: &Traffic, state: Option<State>) -> String {
    let mut registry = Registry::default();
    let version = vec![("version", env!("CARGO_PKG_VERSION").into())];
    let build = Samples::gauges(vec![(version, 1_u64)]);
    registry.register("tlstap_build_info", "The version of tlstap, always 1", build);
    if let Some(mut state) = state {
        state.losses.push(("decode", GapReason::Memory.as_str(), traffic.gaps(GapReason::Memory)));
        state.register(&mut registry);
    }
    traffic.register(&mut registry);
    traffic.requests.register(&mut registry, Instant::now());
    own::register(&mut registry, started);
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}
