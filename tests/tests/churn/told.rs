//! What the agent tells of the requests of containers, read from its file as it grows, and held against
//! what was asked. Only what is still awaited is kept.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead as _, BufReader},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tlstap_tests::{agent::Agent, deadline, event::text, schema};

/// From the last request to its record.
const LIMIT: Duration = Duration::from_secs(10);

/// A side of requests: the container, empty for the host; the side; the mark that their text has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Side {
    pub(super) container: String,
    pub(super) kind: &'static str,
    pub(super) mark: String,
}

/// What was asked.
pub(super) struct Asked {
    pub(super) side: Side,
    pub(super) count: u64,
    /// It brings a library that nobody has seen before: it may have ended before that is probed.
    pub(super) own: bool,
}

/// What became of requests.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Of those that bring a library of their own.
    pub(super) own: Count,
    pub(super) others: Count,
}

#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) told: u64,
    /// Not told, which the agent says.
    pub(super) missing: u64,
}

impl Count {
    pub(super) const fn add(&mut self, other: &Self) {
        self.told += other.told;
        self.missing += other.missing;
    }
}

pub(super) struct Told {
    lines: BufReader<File>,
    half: String,
    seen: BTreeMap<Side, u64>,
    /// Containers of which bytes are missing.
    gaps: BTreeSet<String>,
}

impl Told {
    /// Of the file that an agent writes.
    pub(super) fn open(file: &Path) -> Result<Self> {
        let lines = BufReader::new(File::open(file)?);
        Ok(Self { lines, half: String::new(), seen: BTreeMap::new(), gaps: BTreeSet::new() })
    }

    /// Waits until so many requests of each side are told. What is not, the agent must have said.
    pub(super) fn settle(&mut self, agent: &Agent, wanted: &[Asked]) -> Result<Outcome> {
        let end = Instant::now() + LIMIT;
        deadline::until("all requests to be told", 2 * LIMIT, || {
            self.read()?;
            let told = |asked: &Asked| self.seen.get(&asked.side) >= Some(&asked.count);
            Ok((wanted.iter().all(told) || Instant::now() >= end).then_some(()))
        })?;
        let mut outcome = Outcome::default();
        for Asked { side, count, own } in wanted {
            let told = self.seen.remove(side).unwrap_or_default();
            ensure!(told <= *count, "{told} times told, not {count}: {side:?}");
            if told < *count {
                self.admitted(agent, side).with_context(|| {
                    let said = agent.complaints();
                    let last = said.get(said.len().saturating_sub(20)..);
                    format!("{told} of {count} told; besides {:?}; on stderr {last:#?}", self.seen)
                })?;
            }
            let of = if *own { &mut outcome.own } else { &mut outcome.others };
            of.told += told;
            of.missing += count - told;
        }
        ensure!(self.seen.is_empty(), "told, but not asked: {:?}", self.seen);
        self.gaps.clear();
        Ok(outcome)
    }

    /// Holds the agent to say that something of a side is missing: by a gap, or by its name on standard
    /// error.
    fn admitted(&self, agent: &Agent, side: &Side) -> Result<()> {
        let Side { container, .. } = side;
        let said = || agent.complaints().iter().any(|line| line.contains(container));
        let admitted = self.gaps.contains(container) || (!container.is_empty() && said());
        ensure!(admitted, "not a word about what is missing of {side:?}");
        Ok(())
    }

    fn read(&mut self) -> Result<()> {
        while self.lines.read_line(&mut self.half)? > 0 {
            if self.half.ends_with('\n') {
                let record = schema::record(self.half.trim_end())?;
                self.half.clear();
                self.take(&record);
            }
        }
        Ok(())
    }

    fn take(&mut self, record: &Value) {
        let container = text(record, "/container/name").unwrap_or_default().to_owned();
        match text(record, "/type") {
            Some("gap") => drop(self.gaps.insert(container)),
            Some("http" | "postgresql") => {
                let kind =
                    if text(record, "/kind") == Some("client") { "client" } else { "server" };
                let words = ["/url/query", "/db/query/text"].map(|field| text(record, field));
                if let Some(mark) = words.into_iter().flatten().find_map(marked) {
                    *self.seen.entry(Side { container, kind, mark }).or_default() += 1;
                }
            }
            _ => {}
        }
    }
}

/// The mark in a request: `mark=NAME`, up to a letter that no name has.
fn marked(text: &str) -> Option<String> {
    let (_, mark) = text.split_once("mark=")?;
    mark.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().map(str::to_owned)
}
