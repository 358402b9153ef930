//! Records that wait to be exported: bounded, in their number and in bytes. Decoders put them in and
//! never wait, a replay does; one sender takes them out.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time};

use super::weight::weight;
use crate::enrich::Record;

/// Records, and bytes that they hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Queue {
    /// What may wait.
    bound: Amount,
    /// What is sent together.
    portion: Amount,
    state: Mutex<State>,
    /// Something is there, enough is there, or no more comes.
    filled: Notify,
    /// There is room again.
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    records: VecDeque<Record>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(bound: Amount, portion: Amount) -> Self {
        let (state, filled, freed) = Default::default();
        Self { bound, portion, state, filled, freed }
    }

    /// Puts a record in; `false` if there is no room.
    pub(super) fn offer(&self, record: Record) -> bool {
        self.put(self.state(), record)
    }

    /// Puts a record in as soon as there is room; `false` if there never is.
    pub(super) fn wait(&self, record: Record) -> bool {
        let weight = weight(&record);
        let mut state = self.state();
        while !state.closed && !state.records.is_empty() && !state.has_room(weight, self.bound) {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        self.put(state, record)
    }

    /// What waits.
    pub(super) fn held(&self) -> Amount {
        let state = self.state();
        Amount { records: state.records.len(), bytes: state.bytes }
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_one();
        self.freed.notify_all();
    }

    /// The next records, once there are enough of them, or the first has waited so long for others; none
    /// at the end.
    pub(super) async fn take(&self, patience: Duration) -> Vec<Record> {
        self.until(|state| !state.records.is_empty()).await;
        // That it is over is as good.
        let _ = time::timeout(patience, self.until(|state| state.reaches(self.portion))).await;
        let taken = self.state().take(self.portion);
        self.freed.notify_all();
        taken
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            // Told also when it was before anybody waited.
            let filled = self.filled.notified();
            {
                let state = self.state();
                if state.closed || holds(&state) {
                    return;
                }
            }
            filled.await;
        }
    }

    fn put(&self, mut state: MutexGuard<'_, State>, record: Record) -> bool {
        let weight = weight(&record);
        if state.closed || !state.has_room(weight, self.bound) {
            return false;
        }
        let enough = state.reaches(self.portion);
        state.bytes += weight;
        state.records.push_back(record);
        let first = state.records.len() == 1;
        let now_enough = !enough && state.reaches(self.portion);
        drop(state);
        // To be woken costs more than to put something in.
        if first || now_enough {
            self.filled.notify_one();
        }
        true
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is half-done where somebody could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, weight: usize, bound: Amount) -> bool {
        self.records.len() < bound.records && self.bytes + weight <= bound.bytes
    }

    fn reaches(&self, amount: Amount) -> bool {
        self.records.len() >= amount.records || self.bytes >= amount.bytes
    }

    /// One at least, if there is one.
    fn take(&mut self, portion: Amount) -> Vec<Record> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(next) = self.records.front() {
            let weight = weight(next);
            let fits = taken.len() < portion.records && bytes + weight <= portion.bytes;
            if !fits && !taken.is_empty() {
                break;
            }
            bytes += weight;
            taken.extend(self.records.pop_front());
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread};

    use super::*;
    use crate::emit::sample;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(600);

    fn amount(records: usize) -> Amount {
        Amount { records, bytes: records * 10_000 }
    }

    fn queue(bound: usize, portion: usize) -> Arc<Queue> {
        Arc::new(Queue::new(amount(bound), amount(portion)))
    }

    #[tokio::test]
    async fn no_more_than_fits() {
        let queue = queue(3, 2);
        let put: Vec<_> = (0..5).map(|_| queue.offer(sample::http())).collect();
        assert_eq!(put, [true, true, true, false, false]);
        assert_eq!(queue.take(LONG).await.len(), 2);
        assert_eq!(queue.take(SHORT).await.len(), 1);
        let Amount { records, bytes } = queue.held();
        assert_eq!((records, bytes), (0, 0));
        let mut large = sample::http();
        let body = vec![0; 40_000].into();
        sample::exchange(&mut large).request.as_mut().unwrap().body.bytes = body;
        assert!(!queue.offer(large.clone()) && !queue.wait(large));
    }

    #[tokio::test]
    async fn a_portion_is_bounded_in_bytes_too() {
        let queue =
            Queue::new(amount(10), Amount { records: 10, bytes: 2 * weight(&sample::http()) });
        assert!((0..5).all(|_| queue.offer(sample::http())));
        let mut taken = Vec::new();
        for _ in 0..3 {
            taken.push(queue.take(SHORT).await.len());
        }
        assert_eq!(taken, [2, 2, 1]);
        let none = Queue::new(amount(10), Amount { records: 10, bytes: 1 });
        assert!(none.offer(sample::http()));
        assert_eq!(none.take(LONG).await.len(), 1);
    }

    #[tokio::test]
    async fn what_is_there_at_the_end_is_taken_at_once() {
        let queue = queue(3, 3);
        assert!(queue.offer(sample::http()));
        queue.close();
        assert!(!queue.offer(sample::http()) && !queue.wait(sample::http()));
        assert_eq!(queue.take(LONG).await.len(), 1);
        assert_eq!(queue.take(LONG).await.len(), 0);
    }

    #[tokio::test]
    async fn enough_ends_the_patience() {
        let queue = queue(10, 3);
        let other = Arc::clone(&queue);
        let thread = thread::spawn(move || (0..3).all(|_| other.wait(sample::http())));
        assert_eq!(queue.take(LONG).await.len(), 3);
        assert!(thread.join().unwrap());
    }

    #[tokio::test]
    async fn who_waits_loses_nothing() {
        let queue = queue(2, 2);
        let other = Arc::clone(&queue);
        let thread = thread::spawn(move || (0..9).all(|_| other.wait(sample::http())));
        let mut taken = 0;
        while taken < 9 {
            taken += queue.take(SHORT).await.len();
        }
        assert!(thread.join().unwrap());
    }
}
