//! Records in, counts out: one for each stream, which counts without a lock what it has seen the
//! like of before.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use super::{
    requests::{Request, Series},
    traffic::Traffic,
};
use crate::enrich::{Container, Record};

/// Series that are remembered; then it begins anew.
const MAX_KNOWN: usize = 4_096;

/// What a stream counts with.
#[derive(Debug)]
pub struct Tally {
    traffic: Arc<Traffic>,
    /// By the id of a container, or its name where it has no id; empty on the host.
    known: HashMap<String, Known>,
    /// Series in all of them.
    count: usize,
    /// That of the requests when these series were asked for.
    generation: u64,
}

/// The series of a container.
#[derive(Debug)]
struct Known {
    /// Whether its name was known.
    named: bool,
    series: HashMap<Request, Arc<Series>>,
}

impl Tally {
    pub(super) fn new(traffic: Arc<Traffic>) -> Self {
        let generation = traffic.requests.generation();
        Self { traffic, known: HashMap::new(), count: 0, generation }
    }

    /// Counts a record that was written.
    pub fn count(&mut self, record: &Record) {
        self.traffic.event(&record.message.content);
        let Some((request, duration)) = Request::of(&record.message.content) else { return };
        let container = record.container.as_deref();
        let generation = self.traffic.requests.generation();
        if generation != self.generation {
            self.forget();
            self.generation = generation;
        }
        let (key, named) = key(container);
        if let Some(known) = self.known.get(key)
            && known.named == named
            && let Some(series) = known.series.get(&request)
        {
            series.count(duration);
            return;
        }
        let series = self.traffic.requests.series(container, request);
        series.count(duration);
        self.remember((key, named), request, series);
    }

    fn remember(&mut self, (key, named): (&str, bool), request: Request, series: Arc<Series>) {
        if self.count >= MAX_KNOWN {
            self.forget();
        }
        let known = self.known.entry(key.to_owned());
        let known = known.or_insert_with(|| Known { named, series: HashMap::new() });
        if known.named != named {
            *known = Known { named, series: HashMap::new() };
        }
        known.series.insert(request, series);
        self.count += 1;
    }

    fn forget(&mut self) {
        self.known.clear();
        self.count = 0;
    }
}

/// How a container is remembered, and whether its name is known.
fn key(container: Option<&Container>) -> (&str, bool) {
    let Some(Container { id, name, .. }) = container else { return ("", true) };
    (id.as_deref().or(name.as_deref()).unwrap_or_default(), name.is_some())
}
