//! How many requests of one kind there were, and how long they took. Counted by several threads
//! without a lock.

use std::{
    array,
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering},
};

/// Seconds: the limits of buckets that OpenTelemetry advises for requests and messages.
pub(super) const REQUEST: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// Those for databases.
pub(super) const DATABASE: &[f64] = &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// The most buckets, with the one behind the last limit.
const BUCKETS: usize = REQUEST.len() + 1;

const NANOSECONDS: f64 = 1e9;

#[derive(Debug)]
pub(in crate::metrics) struct Series {
    limits: &'static [f64],
    requests: AtomicU64,
    /// Of those whose duration is known.
    nanoseconds: AtomicU64,
    /// Each has those that took no longer than its limit, and longer than the one before.
    buckets: [AtomicU64; BUCKETS],
}

/// A histogram as it is written.
#[derive(Debug, PartialEq)]
pub(in crate::metrics) struct Durations {
    pub(in crate::metrics) seconds: f64,
    pub(in crate::metrics) count: u64,
    pub(in crate::metrics) buckets: Vec<(f64, u64)>,
}

impl AddAssign for Durations {
    /// Both have the same limits.
    fn add_assign(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.count += other.count;
        for ((_, count), (_, more)) in self.buckets.iter_mut().zip(other.buckets) {
            *count += more;
        }
    }
}

impl Series {
    pub(super) fn new(limits: &'static [f64]) -> Self {
        let buckets = array::from_fn(|_| AtomicU64::new(0));
        Self { limits, requests: AtomicU64::new(0), nanoseconds: AtomicU64::new(0), buckets }
    }

    /// One more, with the nanoseconds that it took.
    pub(in crate::metrics) fn count(&self, duration: Option<u64>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let Some(duration) = duration else { return };
        self.nanoseconds.fetch_add(duration, Ordering::Relaxed);
        let seconds = seconds(duration);
        let bucket = self.limits.partition_point(|limit| *limit < seconds);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(super) fn durations(&self) -> Durations {
        let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
        let limits = self.limits.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<_> = limits.zip(counts).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let seconds = seconds(self.nanoseconds.load(Ordering::Relaxed));
        Durations { seconds, count, buckets }
    }

    /// Gives all that was counted to another one with the same limits.
    pub(super) fn drain_into(&self, other: &Self) {
        let pairs = [(&self.requests, &other.requests), (&self.nanoseconds, &other.nanoseconds)];
        for (from, to) in pairs.into_iter().chain(self.buckets.iter().zip(&other.buckets)) {
            to.fetch_add(from.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "nanoseconds of 100 days are exact, and more is told in seconds"
)]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / NANOSECONDS
}
