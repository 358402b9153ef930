//! Records in, one request of OTLP out, as bytes. Spans of one process stand together.

use bytes::Bytes;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{InstrumentationScope, KeyValue},
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message as _;

use super::{
    ids::Ids,
    resource::Node,
    span::{Made, make},
};
use crate::enrich::Record;

/// A request, as often as it has to be sent.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) request: Bytes,
    /// How many spans are in it.
    pub(super) spans: u64,
    /// How many records are not, since nobody wants their traces.
    pub(super) unsampled: u64,
}

/// What the spans of a process have in common.
struct Group {
    process: Vec<KeyValue>,
    spans: Vec<Span>,
}

impl Batch {
    pub(super) fn of(records: &[Record], node: &Node, ids: &mut Ids) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        let (mut spans, mut unsampled) = (0, 0);
        for record in records {
            match make(record, ids) {
                Made::Span { process, span } => {
                    spans += 1;
                    match groups.iter_mut().find(|group| group.process == process) {
                        Some(group) => group.spans.push(*span),
                        None => groups.push(Group { process, spans: vec![*span] }),
                    }
                }
                Made::Unsampled => unsampled += 1,
                Made::Nothing => {}
            }
        }
        let resource_spans = groups.into_iter().map(|group| group.of(node)).collect();
        let request = ExportTraceServiceRequest { resource_spans };
        Self { request: request.encode_to_vec().into(), spans, unsampled }
    }
}

impl Group {
    fn of(self, node: &Node) -> ResourceSpans {
        let scope = InstrumentationScope {
            name: "tlstap".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope = ScopeSpans { scope: Some(scope), spans: self.spans, ..ScopeSpans::default() };
        ResourceSpans {
            resource: Some(node.resource(self.process)),
            scope_spans: vec![scope],
            ..ResourceSpans::default()
        }
    }
}
