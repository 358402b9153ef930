//! A record in, its span out, and the attributes of the process that it is of. What is masked in the
//! record is masked here: nothing else is looked at.

use opentelemetry_proto::tonic::{common::v1::KeyValue, trace::v1::Span};
use serde_json::{Map, Value};

use super::{
    attributes::{attribute, flatten},
    context::{Context, Parent},
    conventions,
    ids::Ids,
};
use crate::{
    decode::{Content, Role},
    emit::json::Line,
    enrich::Record,
};

/// Bits of a span's flags: whether its parent is of another process is known, and so it is.
const REMOTE: u32 = 0x300;

/// What a record comes to.
pub(super) enum Made {
    Span {
        /// Of the process.
        process: Vec<KeyValue>,
        span: Box<Span>,
    },
    /// Somebody decided that its trace is not recorded.
    Unsampled,
    /// It is no exchange.
    Nothing,
}

/// Members of a record that tell of its process; the others tell of the exchange.
const PROCESS: [&str; 3] = ["process", "container", "k8s"];

/// Those that a span has in places of their own, and those that describe the output itself.
const ELSEWHERE: [&str; 5] = ["schema", "type", "timestamp", "kind", "duration_ns"];

/// Makes the span. Its attributes are what the record is in JSON, without bodies, and what the
/// conventions ask for beside that.
pub(super) fn make(record: &Record, ids: &mut Ids) -> Made {
    let Some((role, duration)) = exchange(&record.message.content) else { return Made::Nothing };
    let context = context(&record.message.content);
    if context.unsampled {
        return Made::Unsampled;
    }
    let Some(mut fields) = fields(record) else { return Made::Nothing };
    let mut process = Vec::new();
    flatten("", taken(&mut fields, &PROCESS), &mut process);
    drop(taken(&mut fields, &ELSEWHERE));
    let mut attributes = Vec::new();
    flatten("", fields, &mut attributes);
    let start = u64::try_from(record.timestamp_ns).unwrap_or_default();
    let mut span = Span {
        name: conventions::name(&record.message.content, &attributes),
        kind: conventions::kind(role).into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(duration.unwrap_or_default()),
        span_id: ids.span().into(),
        ..within(context.parent, ids)
    };
    let failure = conventions::failure(&record.message.content, &attributes);
    span.status = conventions::status(&record.message.content, &attributes, failure.is_some());
    if let Some(kind) = failure.filter(|_| !has(&attributes, "error.type")) {
        attributes.push(attribute("error.type", kind.into_owned()));
    }
    attributes.extend(conventions::more(record));
    Made::Span { process, span: Box::new(Span { attributes, ..span }) }
}

/// Whether a record has a request or an answer.
pub(super) fn exchange(content: &Content) -> Option<(Role, Option<u64>)> {
    match content {
        Content::Http(exchange) => Some((exchange.role, exchange.duration_ns)),
        Content::Operation(operation) => Some((operation.role, operation.duration_ns)),
        _ => None,
    }
}

fn context(content: &Content) -> Context {
    let Content::Http(exchange) = content else { return Context::default() };
    exchange.request.as_ref().map(|request| Context::of(&request.headers)).unwrap_or_default()
}

/// A span with its place in a trace, which begins with it if there is none yet.
fn within(parent: Option<Parent>, ids: &mut Ids) -> Span {
    match parent {
        Some(Parent { trace, span, flags, state }) => Span {
            trace_id: trace.into(),
            parent_span_id: span.into(),
            flags: REMOTE | u32::from(flags),
            trace_state: state,
            ..Span::default()
        },
        None => Span { trace_id: ids.trace().into(), flags: 1, ..Span::default() },
    }
}

fn fields(record: &Record) -> Option<Map<String, Value>> {
    match serde_json::to_value(Line::of(record, false)?).ok()? {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

/// Takes members out of an object.
fn taken(fields: &mut Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    names.iter().filter_map(|name| fields.remove_entry(*name)).collect()
}

fn has(attributes: &[KeyValue], key: &str) -> bool {
    attributes.iter().any(|attribute| attribute.key == key)
}
