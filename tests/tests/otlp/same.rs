//! Spans held against the lines of the output that tell of the same exchanges.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value};
use tlstap_tests::event::{number, text};

/// What spans have beside what the output has.
const MORE: [&str; 10] = [
    "client.address",
    "client.port",
    "error.type",
    "host.name",
    "network.protocol.name",
    "network.protocol.version",
    "server.address",
    "server.port",
    "service.name",
    "url.scheme",
];

/// What lines of the output have that spans have in other places.
const ELSEWHERE: [&str; 5] = ["schema", "type", "timestamp", "kind", "duration_ns"];

/// All members of an object, by names with dots.
fn flat(prefix: &str, object: &Map<String, Value>, out: &mut BTreeMap<String, Value>) {
    for (name, value) in object {
        match value {
            Value::Object(inner) => flat(&format!("{prefix}{name}."), inner, out),
            value => drop(out.insert(format!("{prefix}{name}"), value.clone())),
        }
    }
}

/// What a line and its span have in common, and no other has.
fn key(of: &Value, connection: Option<&Value>, stream: Option<&Value>) -> String {
    format!("{:?} {connection:?} {stream:?}", text(of, "/timestamp"))
}

fn key_of_span(span: &Value) -> String {
    let of = |name: &str| span["attributes"].get(name);
    key(span, of("network.connection.id"), of("http.stream.id"))
}

/// Holds the spans to be the exchanges of the output, one for one, with equal attributes.
pub(super) fn same(events: &[Value], spans: &[Value]) -> Result<usize> {
    let mut found = BTreeMap::new();
    for span in spans {
        let former = found.insert(key_of_span(span), span);
        ensure!(former.is_none(), "exported twice: {span}");
    }
    let told: Vec<_> = events.iter().filter(|event| event.get("kind").is_some()).collect();
    for event in &told {
        let of = |pointer: &str| event.pointer(pointer);
        let key = key(event, of("/network/connection/id"), of("/http/stream/id"));
        let span = found.remove(&key).with_context(|| format!("no span of {event}"))?;
        is_of(span, event).with_context(|| format!("{span}\nof {event}"))?;
    }
    ensure!(found.is_empty(), "spans of what was not told: {found:?}");
    Ok(told.len())
}

fn is_of(span: &Value, event: &Value) -> Result<()> {
    let mut expect = BTreeMap::new();
    flat("", event.as_object().context("no object")?, &mut expect);
    let kind = if text(event, "/kind") == Some("server") { 2 } else { 3 };
    ensure!(span["kind"] == kind, "another kind");
    let duration = number(event, "/duration_ns").unwrap_or_default();
    ensure!(span["duration_ns"] == duration, "another duration");
    ensure!(text(span, "/scope") == Some("tlstap"), "another scope");
    ELSEWHERE.iter().for_each(|name| drop(expect.remove(*name)));
    let mut attributes = BTreeMap::new();
    for (place, of_process) in [("resource", true), ("attributes", false)] {
        for (name, value) in span[place].as_object().context("no attributes")? {
            let begins = |prefix: &&str| name.starts_with(prefix);
            let process =
                ["process.", "container.", "k8s.", "service.", "host."].iter().any(begins);
            ensure!(process == of_process, "{name} is in {place}");
            attributes.insert(name.clone(), value.clone());
        }
    }
    for name in MORE {
        if !expect.contains_key(name) {
            attributes.remove(name);
        }
    }
    for (name, value) in &expect {
        ensure!(attributes.get(name) == Some(value), "{name} is not {value}");
    }
    ensure!(attributes.len() == expect.len(), "more than was told");
    Ok(())
}
