//! All series of requests. Their number is bounded, whatever containers and peers do: what finds
//! no room is counted under a word that stands for all others.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    class::Class,
    place::Place,
    request::{Labels, Request},
    series::Series,
};

/// Containers that have series of their own, the host included.
pub(super) const PLACES: usize = 100;
/// Series of one container.
const OF_PLACE: usize = 200;
/// Series of all of them. A histogram takes some 3 KiB of text.
const ALL: usize = 2_000;

/// How long a container must have been silent until its room is given to another one.
const IDLE: Duration = Duration::from_secs(600);

/// Every series, by container and request.
#[derive(Debug, Default)]
pub(in crate::metrics) struct Table {
    places: HashMap<Place, Entry>,
    others: HashMap<Request, Arc<Series>>,
    /// In `places`.
    count: usize,
    /// Whether a container found no room.
    crowded: bool,
    /// What was taken out last; a thread may have been about to count one more there.
    retired: Vec<(Request, Arc<Series>)>,
}

#[derive(Debug)]
struct Entry {
    series: HashMap<Request, Arc<Series>>,
    /// Requests at the last look, and when there was another number of them.
    requests: u64,
    changed: Instant,
}

impl Table {
    /// Where a request is counted.
    pub(super) fn series(&mut self, place: Place, request: Request) -> Arc<Series> {
        let full = self.count >= ALL;
        let known = self.places.get(&place);
        if let Some(series) = known.and_then(|entry| entry.series.get(&request)) {
            return Arc::clone(series);
        }
        if full || (known.is_none() && self.places.len() >= PLACES) {
            self.crowded = true;
            return self.others(request);
        }
        let entry = self.places.entry(place).or_insert_with(|| Entry {
            series: HashMap::new(),
            requests: 0,
            changed: Instant::now(),
        });
        // Of those that stand for others there are few.
        let request = if entry.series.len() < OF_PLACE { request } else { request.folded() };
        let before = entry.series.len();
        let series = Arc::clone(entry.series.entry(request).or_insert_with(|| new(request)));
        self.count += entry.series.len() - before;
        series
    }

    fn others(&mut self, request: Request) -> Arc<Series> {
        let request = request.folded();
        Arc::clone(self.others.entry(request).or_insert_with(|| new(request)))
    }

    /// Makes room for containers that found none: what silent ones counted goes to the others.
    /// Whether it did, so that those who know a series must ask again.
    pub(super) fn retire(&mut self, now: Instant) -> bool {
        self.settle();
        for entry in self.places.values_mut() {
            let requests = entry.series.values().map(|series| series.requests()).sum();
            if requests != entry.requests {
                (entry.requests, entry.changed) = (requests, now);
            }
        }
        if !self.crowded {
            return false;
        }
        let silent = |entry: &Entry| now.saturating_duration_since(entry.changed) >= IDLE;
        let gone = self.places.extract_if(|_, entry| silent(entry));
        self.retired = gone.flat_map(|(_, entry)| entry.series).collect();
        self.count -= self.retired.len();
        self.crowded = self.retired.is_empty();
        self.settle();
        !self.retired.is_empty()
    }

    fn settle(&mut self) {
        let retired = std::mem::take(&mut self.retired);
        for (request, series) in &retired {
            series.drain_into(&self.others(*request));
        }
        self.retired = retired;
    }

    /// All series, with what is told of their requests and where they were made.
    pub(super) fn rows(&self) -> Vec<(Request, Labels, Arc<Series>)> {
        let others = Place::others();
        let places = self.places.iter().map(|(place, entry)| (place, &entry.series));
        let mut rows = Vec::with_capacity(self.count + self.others.len());
        for (place, series) in places.chain([(&others, &self.others)]) {
            let row = |(request, series): (&Request, &Arc<Series>)| {
                (*request, place.labels(), Arc::clone(series))
            };
            rows.extend(series.iter().map(row));
        }
        rows
    }
}

fn new(request: Request) -> Arc<Series> {
    Arc::new(Series::new(Class::of(request).limits()))
}
