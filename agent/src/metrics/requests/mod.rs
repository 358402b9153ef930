//! Requests by protocol, status and container, with the durations of each: a bounded number of
//! series.

mod class;
mod place;
mod request;
mod series;
mod table;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::AddAssign,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use prometheus_client::registry::Registry;

use self::{
    class::{Class, FAMILIES},
    place::Place,
    table::Table,
};
pub(super) use self::{
    request::{Labels, Request},
    series::{Durations, Series},
};
use super::samples::{Histograms, Samples};
use crate::enrich::Container;

/// The requests of all streams.
#[derive(Debug, Default)]
pub(super) struct Requests {
    table: Mutex<Table>,
    /// Grows when series end: who knows one must ask again.
    generation: AtomicU64,
}

impl Requests {
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Where a request of a container is counted.
    pub(super) fn series(&self, container: Option<&Container>, request: Request) -> Arc<Series> {
        self.table().series(Place::of(container), request)
    }

    /// Writes all down, and makes room for containers that found none.
    pub(super) fn register(&self, registry: &mut Registry, now: Instant) {
        let mut table = self.table();
        if table.retire(now) {
            self.generation.fetch_add(1, Ordering::Release);
        }
        let rows = table.rows();
        drop(table);
        let requests = rows.iter().map(|(request, place, series)| {
            ([place.clone(), request.labels()].concat(), series.requests())
        });
        let help = "Requests, answered or not, by the protocol and the status of the answer";
        registry.register("tlstap_requests", help, Samples::counters(merged(requests)));
        for family in &FAMILIES {
            let of_family = |(request, ..): &&(Request, Labels, Arc<Series>)| {
                Class::of(*request) == family.class && request.role == family.role
            };
            let rows = rows.iter().filter(of_family).map(|(request, place, series)| {
                ([place.clone(), request.attributes()].concat(), series.durations())
            });
            registry.register(family.name, family.help, Histograms(merged(rows)));
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // No code that holds the lock panics half-way through a change.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One row for all that have the same labels, in their order: requests differ by more than each metric tells,
/// and Prometheus refuses a page that has a row twice.
fn merged<T: AddAssign>(rows: impl Iterator<Item = (Labels, T)>) -> Vec<(Labels, T)> {
    let mut merged = BTreeMap::new();
    for (labels, value) in rows {
        match merged.entry(labels) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(mut entry) => *entry.get_mut() += value,
        }
    }
    merged.into_iter().collect()
}
