//! Records in, spans of OpenTelemetry out, to a collector (`--otlp`): docs/otlp.md.
//!
//! Each exchange, that is a request with its answer, is a span. Decoders hand their records over and go
//! on; a thread of its own makes spans of them and sends these. What does not fit into its queue is
//! dropped and counted. It sends what the record has, in which secrets are masked.

mod attributes;
mod backoff;
mod batch;
mod context;
mod conventions;
mod endpoint;
mod ids;
mod queue;
mod resource;
mod sender;
mod span;
mod tally;
#[cfg(test)]
mod tests;
mod transport;
mod weight;

use std::{io, sync::Arc, thread, time::Duration};

use thiserror::Error;
use tokio::{
    runtime,
    sync::{oneshot, watch},
    time,
};

pub use self::{
    endpoint::{Endpoint, EndpointError, Header, Protocol, Url},
    resource::Node,
    tally::{Fate, Tally},
};
use self::{
    queue::{Amount, Queue},
    sender::{Closing, FLUSH, Sender},
};
use crate::{
    enrich::Record,
    privilege::{self, Part},
};

/// What may wait: some seconds of a busy node.
const BOUND: Amount = Amount { records: 16_384, bytes: 32 << 20 };
/// What is sent together. Collectors take 4 MiB by gRPC if nobody tells them otherwise.
const PORTION: Amount = Amount { records: 512, bytes: 1 << 20 };

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Export {
    /// The collector.
    pub to: Endpoint,
    /// Takes what the user should know, one line each.
    pub say: fn(&str),
}

/// How long the sender may take to count what it leaves.
const MOMENT: Duration = Duration::from_millis(500);

/// Why nothing is exported.
#[derive(Debug, Error)]
#[error("failed to start the export to {endpoint}")]
pub struct StartError {
    endpoint: String,
    source: io::Error,
}

/// The running export.
#[derive(Debug)]
pub struct Exporter {
    queue: Arc<Queue>,
    tally: Arc<Tally>,
    closing: watch::Sender<Closing>,
    ended: oneshot::Receiver<()>,
}

/// Where one stream hands its records in.
#[derive(Clone, Debug)]
pub struct Outlet {
    queue: Arc<Queue>,
    tally: Arc<Tally>,
    patient: bool,
}

/// What can be asked while it runs.
#[derive(Clone, Debug)]
pub struct Meter {
    queue: Arc<Queue>,
    tally: Arc<Tally>,
}

impl Exporter {
    /// Connects when there is something to send.
    pub fn start(Export { to, say }: Export, node: Node) -> Result<Self, StartError> {
        let name = to.to_string();
        let failed = |source| StartError { endpoint: name.clone(), source };
        let (queue, tally) = (Arc::new(Queue::new(BOUND, PORTION)), Arc::<Tally>::default());
        let (closing, closes) = watch::channel(Closing::No);
        let (done, ended) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            // Those that ask for addresses of names.
            .thread_name("tlstap-otlp")
            .max_blocking_threads(2)
            .build()
            .map_err(failed)?;
        let sender = {
            let _context = runtime.enter();
            let (queue, tally) = (Arc::clone(&queue), Arc::clone(&tally));
            Sender::new(to, node, queue, tally, closes, say).map_err(io::Error::other)
        };
        let sender = sender.map_err(failed)?;
        let work = move || {
            privilege::keep(Part::Nothing);
            runtime.block_on(sender.run());
            // Nobody waits any more when the agent is stopping.
            let _ = done.send(());
            runtime.shutdown_background();
        };
        thread::Builder::new().name("tlstap-otlp".to_owned()).spawn(work).map_err(failed)?;
        Ok(Self { queue, tally, closing, ended })
    }

    /// For one more stream, which drops what does not fit.
    pub fn outlet(&self) -> Outlet {
        let (queue, tally) = (Arc::clone(&self.queue), Arc::clone(&self.tally));
        Outlet { queue, tally, patient: false }
    }

    /// For a stream that waits until there is room.
    pub fn patient_outlet(&self) -> Outlet {
        Outlet { patient: true, ..self.outlet() }
    }

    /// For metrics.
    pub fn meter(&self) -> Meter {
        Meter { queue: Arc::clone(&self.queue), tally: Arc::clone(&self.tally) }
    }

    /// Sends what waits, as far as that is possible in some seconds, or until somebody has no patience;
    /// tells what became of all. What is handed in from now on is dropped.
    async fn finish(mut self, impatient: impl Future) -> Arc<Tally> {
        self.queue.close();
        self.closing.send_replace(Closing::Soon);
        tokio::select! {
            _ = &mut self.ended => return self.tally,
            // It keeps the time itself, unless it hangs.
            () = time::sleep(2 * FLUSH) => {}
            _ = impatient => {}
        }
        self.closing.send_replace(Closing::Now);
        let _ = time::timeout(MOMENT, self.ended).await;
        self.tally
    }
}

/// What became of the exchanges, if any were to be exported: see `Exporter::finish`.
pub async fn finish(exporter: Option<Exporter>, impatient: impl Future) -> Option<Arc<Tally>> {
    match exporter {
        Some(exporter) => Some(exporter.finish(impatient).await),
        None => None,
    }
}

impl Outlet {
    /// Hands a record in; what is no exchange is passed over.
    pub fn offer(&self, mut record: Record) {
        if span::exchange(&record.message.content).is_none() {
            return;
        }
        weight::slim(&mut record);
        let taken = if self.patient { self.queue.wait(record) } else { self.queue.offer(record) };
        if !taken {
            self.tally.count(Fate::Dropped, 1);
        }
    }
}

impl Meter {
    /// What became of exchanges so far.
    pub fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }

    /// How many exchanges wait, and how many bytes they hold.
    pub fn waiting(&self) -> (usize, usize) {
        let Amount { records, bytes } = self.queue.held();
        (records, bytes)
    }
}
