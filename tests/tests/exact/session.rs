//! An agent, its recording, and the fixtures' own counts held against it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tlstap_tests::{
    account::{self, Told},
    agent::Agent,
    exact::{End, Exact},
    node::Node,
    recording::Recording,
};

/// Without an event for so long, there comes none.
const IDLE: Duration = Duration::from_secs(5);

/// An agent that writes into a file, and what is read of it.
pub(crate) struct Session {
    pub(super) agent: Agent,
    pub(super) recording: Recording,
    _folder: tempfile::TempDir,
}

impl Session {
    pub(crate) fn start(node: &Node, arguments: &[&str], streams: u64) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let recording = Recording::new(folder.path(), streams)?;
        let path = recording.path().to_str().context("a path that is not UTF-8")?;
        let launch =
            node.tlstap(&["trace", "--raw", "--show-secrets", "-o", "json", "--write", path])?;
        let agent = arguments.iter().fold(launch, |launch, argument| launch.argument(*argument));
        Ok(Self { agent: agent.ready()?, recording, _folder: folder })
    }

    /// Lets a fixture exchange its messages, and matches what was told with what it says.
    pub(crate) fn exchange(
        &mut self,
        exact: Exact,
        sizes: &[usize],
    ) -> Result<(Vec<End>, Vec<Told>)> {
        let mut exchange = exact.start(sizes)?;
        let ends = exchange.go()?;
        exchange.end()?;
        let told = self.told(&ends)?;
        Ok((ends, told))
    }

    /// What was told of these ends, once it is all there.
    pub(crate) fn told(&mut self, ends: &[End]) -> Result<Vec<Told>> {
        let total = account::total(ends);
        self.recording.read_until(IDLE, |so_far| account::accounted(so_far, ends) >= total)?;
        account::told(&self.recording, ends)
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.agent.stop().map(drop)
    }
}
