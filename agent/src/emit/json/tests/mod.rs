//! Lines held against the schema, and against what they must say.

mod findings;
mod http;
mod operations;
mod streams;

use serde_json::{Value, json};

use bytes::Bytes;
use tlstap_ebpf::{Function, Places};

use super::{
    super::{escape, sample},
    *,
};
use crate::{
    capture::GapReason,
    decode::{Grpc, Messages, Opcode, Role, System, Version},
    enrich::Container,
    inventory::{Finding, Status},
    resolve::{Class, FileKey, Method, Probe, Reason, Site},
};

/// The schema is a promise to users: a record that breaks it is a bug in one of the two.
const SCHEMA: &str = include_str!("../../../../../docs/tlstap-v1.schema.json");

/// Where the words of the output are explained.
const OUTPUT: &str = include_str!("../../../../../docs/output.md");

fn line(record: &Record, bodies: bool) -> String {
    let mut out = Vec::new();
    Json::new(bodies).write(record, &mut out).unwrap();
    let line = String::from_utf8(out).unwrap();
    // Filters look at the same.
    let fields = serde_json::to_value(Line::of(record, bodies)).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), fields, "{line}");
    line
}

/// The record's line, read again and held against the schema.
#[track_caller]
fn value(record: &Record, bodies: bool) -> Value {
    read(&line(record, bodies))
}

#[track_caller]
fn read(line: &str) -> Value {
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    assert!(line.ends_with('\n'), "{line}");
    let value = serde_json::from_str(line).unwrap();
    assert_eq!(errors(&value), [""; 0], "{line}");
    value
}

fn errors(value: &Value) -> Vec<String> {
    let schema = serde_json::from_str(SCHEMA).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.iter_errors(value).map(|error| error.to_string()).collect()
}

/// What is behind a JSON pointer, or nothing.
#[track_caller]
fn check(record: &Record, bodies: bool, expect: &[(&str, Option<Value>)]) {
    let value = value(record, bodies);
    for (pointer, expect) in expect {
        assert_eq!(value.pointer(pointer), expect.as_ref(), "{pointer} in {value}");
    }
}

#[test]
fn a_pod_has_its_names() {
    let mut record = sample::http();
    sample::container(&mut record).pod = Some(sample::pod());
    let all = json!({
        "namespace": {"name": "shop"},
        "pod": {"name": "web-0", "uid": "3f1c"},
        "container": {"name": "web"},
    });
    check(&record, false, &[("/k8s", Some(all))]);
    let pod = sample::container(&mut record).pod.as_mut().unwrap();
    (pod.uid, pod.container) = (None, None);
    let least = json!({"namespace": {"name": "shop"}, "pod": {"name": "web-0"}});
    check(&record, false, &[("/k8s", Some(least))]);
}

#[test]
fn both_ends_of_a_connection() {
    let mut record = sample::http();
    record.socket = Some(sample::socket());
    let local = json!({"address": "172.17.0.2", "port": 43210});
    let peer = json!({"address": "fd00::3", "port": 443});
    check(&record, false, &[("/network/local", Some(local)), ("/network/peer", Some(peer))]);
}

#[test]
fn a_terminal_gets_no_control_character() {
    let text = "\0\x1b[0m\x7f\u{9b}31m\u{202e}\u{e0001}\u{e0001}\r\n\"\\ é 🙂";
    let record = sample::data(text.as_bytes());
    let shown = line(&record, false);
    assert!(!shown.trim_end().contains(escape::is_unsafe), "{shown:?}");
    assert!(shown.contains("é 🙂"), "{shown}");
    check(&record, false, &[("/text", Some(json!(text)))]);
}

/// What was written before is copied only where nothing of it has changed.
#[test]
fn a_connection_is_written_again_as_it_is() {
    let mut json = Json::new(true);
    let mut check = |record: &Record| {
        let mut out = Vec::new();
        json.write(record, &mut out).unwrap();
        json.write(record, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), line(record, true).repeat(2));
    };
    let mut record = sample::http();
    check(&record);
    record.socket = Some(sample::socket());
    check(&record);
    record.peer = Some("shop/db".into());
    check(&record);
    record.message.call.tid = 43;
    check(&record);
    sample::process(&mut record).command = Some("cat".to_owned());
    check(&record);
    sample::container(&mut record).name = Some("other".to_owned());
    check(&record);
    record.tls = None;
    check(&record);
    record.timestamp_ns += 1;
    check(&record);
    record.message.connection.birth += 1;
    check(&record);
    check(&sample::gap());
    check(&sample::data(b"a"));
    check(&sample::opaque());
}

#[test]
fn a_timestamp_has_nanoseconds() {
    let mut clock = Clock::default();
    let mut check = |ns, expect| {
        let mut out = Vec::new();
        timestamp(&mut clock, ns, &mut out).unwrap();
        assert_eq!(str::from_utf8(&out), Ok(expect));
    };
    check(0, "1970-01-01T00:00:00.000000000Z");
    check(999_999_999, "1970-01-01T00:00:00.999999999Z");
    check(1_000_000_000, "1970-01-01T00:00:01.000000000Z");
    check(-1, "1969-12-31T23:59:59.999999999Z");
    check(i64::MAX, "2262-04-11T23:47:16.854775807Z");
    check(i64::MIN, "1677-09-21T00:12:43.145224192Z");
    check(0, "1970-01-01T00:00:00.000000000Z");
}

#[test]
fn the_schema_refuses_what_is_not_in_it() {
    let whole = value(&sample::http(), true);
    let with = |pointer: &str, name: &str, new: Value| {
        let mut changed = whole.clone();
        changed.pointer_mut(pointer).unwrap()[name] = new;
        errors(&changed)
    };
    assert_eq!(with("", "kind", json!("server")), [""; 0]);
    let network = json!({"address": "172.17.0.2", "port": 443});
    assert_eq!(with("/network", "peer", network), [""; 0]);
    let k8s = json!({"namespace": {"name": "shop"}, "pod": {"name": "web-0", "uid": "x"}});
    assert_eq!(with("", "k8s", k8s), [""; 0]);
    for (pointer, name) in [
        ("", "other"),
        ("", "offset"),
        ("/process", "other"),
        ("/http/response", "other"),
        ("/http/response/body", "other"),
        ("/network", "other"),
    ] {
        assert_ne!(with(pointer, name, json!(1)), [""; 0], "{pointer}/{name}");
    }
    assert_ne!(with("", "schema", json!("tlstap/v2")), [""; 0]);
    assert_ne!(with("", "type", json!("data")), [""; 0]);
    assert_ne!(with("", "timestamp", json!("yesterday")), [""; 0]);
}
