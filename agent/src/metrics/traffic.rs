//! What the streams count while records go by: atomics, which they share, and which are read at any
//! time.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::registry::Registry;

use super::{
    requests::{Labels, Requests},
    samples::Samples,
};
use crate::{
    capture::GapReason,
    decode::{Content, System},
};

/// The words of `type` in the output that are no system's.
const TYPES: [&str; 7] = ["data", "gap", "http", "grpc", "websocket", "sse", "opaque"];
/// What systems begin with.
const SYSTEMS: usize = TYPES.len();

/// Counted over all streams.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// In the order of [`types`].
    events: [AtomicU64; SYSTEMS + System::ALL.len()],
    /// In the order of [`GapReason::ALL`]: how many, and their bytes.
    gaps: [[AtomicU64; 2]; GapReason::ALL.len()],
    pub(super) requests: Requests,
}

impl Traffic {
    /// One more record with this content.
    pub(super) fn event(&self, content: &Content) {
        let Some(kind) = kind(content) else { return };
        self.events.get(kind).into_iter().for_each(|count| add(count, 1));
        if let Content::Gap { length, reason, .. } = content
            && let Some([count, bytes]) = self.gaps.get(*reason as usize)
        {
            add(count, 1);
            add(bytes, *length);
        }
    }

    /// Gaps for this reason so far.
    pub(super) fn gaps(&self, reason: GapReason) -> u64 {
        self.gaps.get(reason as usize).map_or(0, |[count, _]| count.load(Ordering::Relaxed))
    }

    /// Writes all but the requests down.
    pub(super) fn register(&self, registry: &mut Registry) {
        let events = types().zip(&self.events).map(|(word, count)| row("type", word, count));
        let help = "Records that were written, by the type that they have in the output";
        registry.register("tlstap_events", help, Samples::counters(events.collect()));
        let gaps = |which: usize| {
            let reasons = GapReason::ALL.into_iter().zip(&self.gaps);
            let rows = reasons
                .filter_map(|(reason, gap)| Some(row("reason", reason.as_str(), gap.get(which)?)));
            Samples::counters(rows.collect())
        };
        registry.register("tlstap_gaps", "Places where plaintext is missing", gaps(0));
        registry.register("tlstap_gap_bytes", "Bytes of plaintext that are missing", gaps(1));
    }
}

/// All words of `type`.
fn types() -> impl Iterator<Item = &'static str> {
    TYPES.into_iter().chain(System::ALL.into_iter().map(System::as_str))
}

/// The place of a content's type among [`types`]; `None` for what is not written.
fn kind(content: &Content) -> Option<usize> {
    Some(match content {
        Content::Data { .. } => 0,
        Content::Gap { .. } => 1,
        Content::Http(exchange) if exchange.grpc.is_none() => 2,
        Content::Http(_) => 3,
        Content::WebSocket(_) => 4,
        Content::Event(_) => 5,
        Content::Opaque { .. } => 6,
        Content::Operation(operation) => SYSTEMS + operation.system as usize,
        Content::Closed { .. } => return None,
    })
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

fn row(label: &'static str, word: &'static str, count: &AtomicU64) -> (Labels, u64) {
    (vec![(label, word.into())], count.load(Ordering::Relaxed))
}
