//! Takes records out of the queue, and sends them until the collector has taken them or it is given up.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time};
use tonic::transport::Error;

use super::{
    BOUND,
    backoff::Backoff,
    batch::Batch,
    endpoint::Endpoint,
    ids::Ids,
    queue::Queue,
    resource::Node,
    tally::{Fate, Tally},
    transport::{Partial, Refusal, Then, Transport},
};
use crate::emit::escape::Escaped;

/// How long a record waits for others.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long what waits may take when the agent stops.
pub(super) const FLUSH: Duration = Duration::from_secs(5);
/// From one attempt to the next when the agent stops.
const HURRY: Duration = Duration::from_millis(250);
/// Bytes of a collector's words that are shown.
const WORDS: usize = 200;

/// Whether the agent stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closing {
    No,
    /// What waits is sent first.
    Soon,
    /// Somebody has no patience.
    Now,
}

pub(super) struct Sender<S> {
    queue: Arc<Queue>,
    tally: Arc<Tally>,
    transport: Transport,
    node: Node,
    ids: Ids,
    /// Spans that are on their way.
    under_way: u64,
    closing: watch::Receiver<Closing>,
    standing: Standing<S>,
}

impl<S: Fn(&str)> Sender<S> {
    /// Must be called in a tokio runtime.
    pub(super) fn new(
        endpoint: Endpoint,
        node: Node,
        queue: Arc<Queue>,
        tally: Arc<Tally>,
        closing: watch::Receiver<Closing>,
        say: S,
    ) -> Result<Self, Error> {
        let standing = Standing { endpoint: endpoint.to_string(), failures: 0, told: false, say };
        let transport = Transport::new(endpoint)?;
        let (ids, under_way) = (Ids::default(), 0);
        Ok(Self { queue, tally, transport, node, ids, under_way, closing, standing })
    }

    /// Until the queue is closed and empty, or there is no more time.
    pub(super) async fn run(mut self) {
        let closing = self.closing.clone();
        tokio::select! {
            () = self.pump() => {}
            () = late(closing) => {}
        }
        let mut left = self.under_way;
        // It is closed: this takes no time.
        while let records @ 1.. = self.queue.take(Duration::ZERO).await.len() {
            left += records as u64;
        }
        self.tally.count(Fate::Dropped, left);
    }

    async fn pump(&mut self) {
        loop {
            let records = self.queue.take(PATIENCE).await;
            if records.is_empty() {
                return;
            }
            let batch = Batch::of(&records, &self.node, &mut self.ids);
            drop(records);
            self.tally.count(Fate::Unsampled, batch.unsampled);
            if batch.spans > 0 {
                self.under_way = batch.spans;
                self.deliver(batch).await;
                self.under_way = 0;
            }
        }
    }

    async fn deliver(&mut self, batch: Batch) {
        let mut backoff = Backoff::default();
        loop {
            let refusal = match self.transport.send(batch.request.clone()).await {
                Ok(partial) => return self.delivered(batch.spans, &partial),
                Err(refusal) => refusal,
            };
            self.standing.failed(&refusal);
            let pause = match refusal.then {
                Then::GiveUp => None,
                Then::Retry(asked) => backoff.pause(asked, self.ids.chance()),
            };
            match pause {
                Some(pause) => self.rest(pause).await,
                None => return self.tally.count(Fate::Failed, batch.spans),
            }
        }
    }

    fn delivered(&mut self, spans: u64, Partial { rejected, message }: &Partial) {
        let rejected = spans.min(*rejected);
        self.tally.count(Fate::Exported, spans - rejected);
        self.tally.count(Fate::Rejected, rejected);
        if rejected > 0 || !message.is_empty() {
            tracing::warn!(rejected, of = spans, message = shown(message), "from the collector");
        }
        self.standing.well();
    }

    /// Waits, for less when the agent stops.
    async fn rest(&mut self, pause: Duration) {
        if *self.closing.borrow() > Closing::No {
            return time::sleep(pause.min(HURRY)).await;
        }
        tokio::select! {
            () = time::sleep(pause) => {}
            _ = self.closing.wait_for(|closing| *closing > Closing::No) => {}
        }
    }
}

async fn late(mut closing: watch::Receiver<Closing>) {
    // Who started it may be gone without a word.
    let _ = closing.wait_for(|closing| *closing > Closing::No).await;
    let now = closing.wait_for(|closing| *closing == Closing::Now);
    let _ = time::timeout(FLUSH, now).await;
}

/// How the collector is, for the user: told once when it fails, and once when it is well again.
struct Standing<S> {
    endpoint: String,
    /// In a row.
    failures: u32,
    told: bool,
    say: S,
}

impl<S: Fn(&str)> Standing<S> {
    /// What is sent again may be taken the second time: then there is nothing to tell.
    fn failed(&mut self, Refusal { why, then }: &Refusal) {
        self.failures = self.failures.saturating_add(1);
        let (endpoint, why) = (&self.endpoint, shown(why));
        tracing::debug!(%endpoint, why, ?then, "spans are not taken");
        if self.told || (self.failures < 2 && *then != Then::GiveUp) {
            return;
        }
        self.told = true;
        let most = BOUND.records;
        (self.say)(&match then {
            Then::GiveUp => format!("spans are refused by {endpoint}: {why}"),
            Then::Retry(_) => {
                format!("spans cannot be exported to {endpoint}: {why}; up to {most} wait")
            }
        });
    }

    fn well(&mut self) {
        self.failures = 0;
        if std::mem::take(&mut self.told) {
            (self.say)(&format!("spans are exported to {} again", self.endpoint));
        }
    }
}

/// What a collector says, as a terminal may have it.
fn shown(words: &str) -> String {
    let end = words.floor_char_boundary(WORDS);
    Escaped(words.get(..end).unwrap_or_default().as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn told_once_and_once_again() {
        let said = RefCell::new(Vec::new());
        let say = |text: &str| said.borrow_mut().push(text.to_owned());
        let mut standing =
            Standing { endpoint: "http://a".to_owned(), failures: 0, told: false, say };
        let refusal = |then| Refusal { why: "no \u{1b}[31m".into(), then };
        let retry = refusal(Then::Retry(None));
        standing.well();
        standing.failed(&retry);
        standing.well();
        standing.failed(&retry);
        assert!(said.borrow().is_empty());
        (0..5).for_each(|_| standing.failed(&retry));
        (0..5).for_each(|_| standing.well());
        standing.failed(&refusal(Then::GiveUp));
        let expect = [
            r"spans cannot be exported to http://a: no \u{1b}[31m; up to 16384 wait",
            "spans are exported to http://a again",
            r"spans are refused by http://a: no \u{1b}[31m",
        ];
        assert_eq!(*said.borrow(), expect);
    }
}
