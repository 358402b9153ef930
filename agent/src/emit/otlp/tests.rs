//! Records as a collector gets them.

use std::collections::BTreeMap;

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value as Any},
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use serde_json::{Map, Value, json};

use super::{attributes::attribute, batch::Batch, ids::Ids, resource::Node};
use crate::{
    decode::{Content, Grpc, Role, System},
    emit::{json::Line, sample},
    enrich::Record,
};

/// Attributes that the output does not have by these names.
const MORE: [&str; 7] = [
    "client.address",
    "client.port",
    "network.protocol.name",
    "network.protocol.version",
    "server.address",
    "server.port",
    "url.scheme",
];

fn batch(records: &[Record]) -> (ExportTraceServiceRequest, u64) {
    let batch = Batch::of(records, &Node::default(), &mut Ids::default());
    let request = ExportTraceServiceRequest::decode(batch.request).unwrap();
    let spans = request.resource_spans.iter().flat_map(|of| &of.scope_spans);
    assert_eq!(spans.map(|of| of.spans.len() as u64).sum::<u64>(), batch.spans);
    (request, batch.unsampled)
}

/// The only span of a record, with the attributes of its resource.
fn exported(record: Record) -> (Vec<KeyValue>, Span) {
    let (mut request, _) = batch(&[record]);
    let mut of_resource = request.resource_spans.remove(0);
    let mut of_scope = of_resource.scope_spans.remove(0);
    let scope = of_scope.scope.unwrap();
    assert_eq!((&*scope.name, &*scope.version), ("tlstap", env!("CARGO_PKG_VERSION")));
    (of_resource.resource.unwrap().attributes, of_scope.spans.remove(0))
}

fn value(value: &AnyValue) -> Value {
    match &value.value {
        None => Value::Null,
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        Some(Any::BoolValue(value)) => json!(value),
        Some(Any::ArrayValue(array)) => array.values.iter().map(self::value).collect(),
        other => panic!("{other:?}"),
    }
}

fn values(attributes: &[KeyValue]) -> BTreeMap<&str, Value> {
    let values = attributes.iter().map(|it| (&*it.key, value(it.value.as_ref().unwrap())));
    let values: BTreeMap<_, _> = values.collect();
    assert_eq!(values.len(), attributes.len(), "twice: {attributes:?}");
    values
}

/// All that an object has, by names with dots.
fn flat(prefix: &str, object: &Map<String, Value>, out: &mut BTreeMap<String, Value>) {
    for (name, value) in object {
        match value {
            Value::Object(inner) => flat(&format!("{prefix}{name}."), inner, out),
            value => drop(out.insert(format!("{prefix}{name}"), value.clone())),
        }
    }
}

/// Holds a span and its resource to have what the output has, and what is told beside that.
fn says_what_the_output_says(record: &Record, of_resource: &[&str], of_span: &[&str]) {
    let (resource, span) = exported(record.clone());
    let mut expect = BTreeMap::new();
    let line = serde_json::to_value(Line::of(record, false)).unwrap();
    flat("", line.as_object().unwrap(), &mut expect);
    for elsewhere in ["schema", "type", "timestamp", "kind", "duration_ns"] {
        expect.remove(elsewhere);
    }
    let mut found = BTreeMap::new();
    for (attributes, more) in [(&resource, of_resource), (&span.attributes, of_span)] {
        let mut values = values(attributes);
        for name in more {
            assert!(values.remove(name).is_some(), "no {name}: {attributes:?}");
        }
        found.extend(values.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }
    assert_eq!(found, expect);
}

#[test]
fn attributes_are_those_of_the_output() {
    let mut http = sample::http();
    sample::container(&mut http).pod = Some(sample::pod());
    let of_http = [
        "network.protocol.name",
        "network.protocol.version",
        "url.scheme",
        "server.address",
        "server.port",
    ];
    says_what_the_output_says(&http, &["service.name", "service.namespace"], &of_http);
    http.socket = Some(sample::socket());
    sample::exchange(&mut http).role = Role::Server;
    says_what_the_output_says(&http, &["service.name", "service.namespace"], &MORE);
    for system in System::ALL {
        says_what_the_output_says(&sample::operation(system), &["service.name"], &[]);
        says_what_the_output_says(&sample::failure(system), &["service.name"], &[]);
    }
    says_what_the_output_says(&sample::delivery(), &["service.name"], &[]);
}

#[test]
fn what_is_in_other_places() {
    let (resource, span) = exported(sample::http());
    assert_eq!(span.start_time_unix_nano, 1_795_292_692_708_165_404);
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 1_200_345);
    assert_eq!((span.kind(), &*span.name), (SpanKind::Client, "POST"));
    assert_eq!((span.trace_id.len(), span.span_id.len(), span.parent_span_id.len()), (16, 8, 0));
    assert_eq!((span.status, span.flags), (None, 1));
    assert_eq!(values(&resource)["service.name"], "web");
    let mut unfinished = sample::http();
    sample::exchange(&mut unfinished).duration_ns = None;
    let (_, span) = exported(unfinished);
    assert_eq!(span.start_time_unix_nano, span.end_time_unix_nano);
}

#[test]
fn only_exchanges_are_exported() {
    let records = [sample::data(b"a"), sample::gap(), sample::opaque(), sample::event(b"a")];
    assert_eq!(batch(&records).0.resource_spans, []);
}

#[test]
fn processes_stand_together() {
    let mut other = sample::http();
    sample::process(&mut other).pid = 7;
    let operation = sample::operation(System::Redis);
    let (request, _) = batch(&[sample::http(), other.clone(), operation, other]);
    let counts: Vec<_> =
        request.resource_spans.iter().map(|of| of.scope_spans[0].spans.len()).collect();
    assert_eq!(counts, [2, 2]);
}

/// The name of the span of an exchange with this method.
fn name(method: Option<&str>) -> String {
    let mut record = sample::http();
    let request = sample::exchange(&mut record).request.as_mut().unwrap();
    request.method = method.map(str::to_owned);
    exported(record).1.name
}

#[test]
fn names() {
    assert_eq!([Some("GET"), Some("\u{1b}[31m"), None].map(name), ["GET", "HTTP", "HTTP"]);
    let mut record = sample::operation(System::Postgresql);
    assert_eq!(exported(record.clone()).1.name, "SELECT cats");
    let Content::Operation(operation) = &mut record.message.content else { panic!("no operation") };
    operation.target = None;
    assert_eq!(exported(record.clone()).1.name, "SELECT shop");
    let Content::Operation(operation) = &mut record.message.content else { panic!("no operation") };
    (operation.namespace, operation.name) = (None, Some("\u{e9}".repeat(1000)));
    assert_eq!(exported(record).1.name, "\u{e9}".repeat(64));
    assert_eq!(exported(sample::failure(System::Redis)).1.name, "redis");
    let (_, span) = exported(grpc(Role::Client, Some(0)));
    assert_eq!(span.name, "shop.Cart/Add");
}

fn grpc(role: Role, status: Option<u32>) -> Record {
    let mut record = sample::http();
    let exchange = sample::exchange(&mut record);
    exchange.role = role;
    exchange.grpc = Some(Box::new(Grpc {
        service: Some("shop.Cart".to_owned()),
        method: Some("Add".to_owned()),
        status,
        message: Some("no tea".to_owned()),
        ..Grpc::default()
    }));
    record
}

/// The status, its message, and `error.type`.
fn outcome(record: Record) -> Option<(String, Value)> {
    let (_, span) = exported(record);
    let status = span.status.clone()?;
    assert_eq!(status.code(), StatusCode::Error);
    Some((status.message, values(&span.attributes)["error.type"].clone()))
}

#[test]
fn errors_of_http() {
    let status = |role, status| {
        let mut record = sample::http();
        let exchange = sample::exchange(&mut record);
        exchange.role = role;
        exchange.response.as_mut().unwrap().status = status;
        outcome(record).map(|(message, kind)| {
            assert_eq!(message, "");
            kind
        })
    };
    use Role::{Client, Server};
    assert_eq!([200, 302].map(|code| status(Client, Some(code))), [None, None]);
    assert_eq!(status(Client, Some(404)), Some(json!("404")));
    assert_eq!(status(Client, Some(500)), Some(json!("500")));
    assert_eq!((status(Server, Some(404)), status(Server, None)), (None, None));
    assert_eq!(status(Server, Some(503)), Some(json!("503")));
    let mut record = sample::http();
    let exchange = sample::exchange(&mut record);
    (exchange.response, exchange.error) = (None, Some("CANCEL".to_owned()));
    assert_eq!(outcome(record), Some((String::new(), json!("CANCEL"))));
}

#[test]
fn errors_of_grpc() {
    let status = |role, status| outcome(grpc(role, Some(status)));
    let error = |name: &str| Some(("no tea".to_owned(), json!(name)));
    use Role::{Client, Server};
    assert_eq!((status(Client, 0), status(Server, 0)), (None, None));
    assert_eq!((status(Client, 5), status(Server, 5)), (error("NOT_FOUND"), None));
    assert_eq!(
        (status(Client, 14), status(Server, 14)),
        (error("UNAVAILABLE"), error("UNAVAILABLE"))
    );
    assert_eq!((status(Client, 99), status(Server, 99)), (error("99"), None));
    assert_eq!(outcome(grpc(Client, None)), None);
}

#[test]
fn errors_of_others() {
    let expect = ("no table \u{1b}[31m".to_owned(), json!("42P01"));
    assert_eq!(outcome(sample::failure(System::Postgresql)), Some(expect));
    assert_eq!(outcome(sample::operation(System::Postgresql)), None);
}

#[test]
fn where_servers_and_clients_are() {
    let of = |record: Record| {
        let (_, span) = exported(record);
        let values = values(&span.attributes);
        let names = ["server.address", "server.port", "client.address", "client.port"];
        names.map(|name| values.get(name).cloned().unwrap_or_default())
    };
    let none = Value::Null;
    let mut record = sample::http();
    assert_eq!(of(record.clone()), [json!("web"), json!(443), none.clone(), none.clone()]);
    record.socket = Some(sample::socket());
    assert_eq!(of(record.clone()), [json!("web"), json!(443), none.clone(), none.clone()]);
    let host = |record: &mut Record, host: &'static [u8]| {
        let request = sample::exchange(record).request.as_mut().unwrap();
        request.headers = [("host", host)].into_iter().collect();
    };
    host(&mut record, b"joe:x@[::1]:8443");
    assert_eq!(of(record.clone()), [json!("::1"), json!(8443), none.clone(), none.clone()]);
    host(&mut record, b"");
    assert_eq!(of(record.clone()), [json!("fd00::3"), json!(443), none.clone(), none.clone()]);
    sample::exchange(&mut record).role = Role::Server;
    let server = [json!("172.17.0.2"), json!(43210), json!("fd00::3"), json!(443)];
    assert_eq!(of(record), server);
}

#[test]
fn a_span_has_its_place_in_a_trace() {
    let with = |flags: &'static str| {
        let mut record = sample::http();
        let request = sample::exchange(&mut record).request.as_mut().unwrap();
        let parent = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
        request.headers.push("traceparent", parent.as_bytes());
        request.headers.push("tracestate", b"a=1");
        record
    };
    let (_, span) = exported(with("01"));
    assert_eq!(span.trace_id[..4], [0x0a, 0xf7, 0x65, 0x19]);
    assert_eq!(span.parent_span_id[..4], [0xb7, 0xad, 0x6b, 0x71]);
    assert_ne!(span.span_id, span.parent_span_id);
    assert_eq!((&*span.trace_state, span.flags), ("a=1", 0x301));
    let (request, unsampled) = batch(&[with("00"), sample::http(), with("00")]);
    assert_eq!((request.resource_spans.len(), unsampled), (1, 2));
}

#[test]
fn nulls_and_bodies() {
    let parameters = exported(sample::operation(System::Postgresql)).1.attributes;
    let null =
        KeyValue { value: Some(AnyValue::default()), ..attribute("db.query.parameter.1", 0) };
    assert!(parameters.contains(&null));
    let text = format!("{:?}", exported(sample::http()));
    assert!(!text.contains("hello") && !text.contains("line one"), "{text}");
}
