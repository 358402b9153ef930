//! Lines held against the schema, and against what they must say.

use serde_json::{Value, json};

use bytes::Bytes;
use tlstap_ebpf::{Function, Places};

use super::{super::sample, *};
use crate::{
    capture::GapReason,
    decode::{Grpc, Messages, Opcode, Role, System, Version},
    enrich::Container,
    inventory::{Finding, Status},
    resolve::{Class, FileKey, Method, Probe, Reason, Site},
};

/// The schema is a promise to users: a record that breaks it is a bug in one of the two.
const SCHEMA: &str = include_str!("../../../../docs/tlstap-v1.schema.json");

/// Where the words of the output are explained.
const OUTPUT: &str = include_str!("../../../../docs/output.md");

fn line(record: &Record, bodies: bool) -> String {
    let mut out = Vec::new();
    write(record, bodies, &mut out).unwrap();
    String::from_utf8(out).unwrap()
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
fn an_exchange_with_all_that_can_be_known() {
    let expect = json!({
        "schema": "tlstap/v1",
        "type": "http",
        "timestamp": "2026-11-21T20:24:52.708165404Z",
        "process": {"pid": 41, "command": "curl", "executable": {"path": "/usr/bin/curl"}},
        "thread": {"id": 42, "name": "curl"},
        "container": {
            "id": "0123456789abcdef".repeat(4),
            "name": "web",
            "runtime": "docker",
            "image": {"name": "web:1"},
        },
        "tls": {
            "library": "openssl",
            "version": "3.0.22",
            "path": "/usr/lib/x86_64-linux-gnu/libssl.so.3",
        },
        "network": {"connection": {"id": "29-7f00-abc"}},
        "kind": "client",
        "duration_ns": 1_200_345,
        "http": {
            "version": "1.1",
            "request": {
                "method": "POST",
                "header": {"host": ["web"], "x-two": ["1", "\u{fffd}"]},
                "body": {"size": 5, "text": "hello"},
            },
            "response": {
                "status_code": 200,
                "header": {"content-type": ["text/plain"]},
                "body": {
                    "size": 5162,
                    "truncated": true,
                    "text": "line one\r\nline\ttwo \u{202e}\n",
                },
            },
        },
        "url": {"path": "/a", "query": "b=1", "full": "https://web/a?b=1"},
    });
    assert_eq!(value(&sample::http(), true), expect);
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
fn bodies_only_when_told() {
    let body = Some(json!({"size": 5}));
    check(&sample::http(), false, &[("/http/request/body", body)]);
    let mut record = sample::http();
    let request = sample::exchange(&mut record).request.as_mut().unwrap();
    request.body.bytes = Bytes::from_static(b"\x00\xff");
    let body = Some(json!({"size": 5, "base64": "AP8="}));
    check(&record, true, &[("/http/request/body", body)]);
}

#[test]
fn what_is_unknown_is_absent() {
    let mut record = sample::http();
    record.container = None;
    record.tls = None;
    sample::process(&mut record).command = None;
    sample::process(&mut record).executable = None;
    record.message.call.thread_name = [0; 16];
    let exchange = sample::exchange(&mut record);
    exchange.role = Role::Server;
    exchange.request = None;
    exchange.response = None;
    exchange.duration_ns = None;
    let expect = json!({
        "schema": "tlstap/v1",
        "type": "http",
        "timestamp": "2026-11-21T20:24:52.708165404Z",
        "process": {"pid": 41},
        "thread": {"id": 42},
        "network": {"connection": {"id": "29-7f00-abc"}},
        "kind": "server",
        "http": {},
    });
    assert_eq!(value(&record, true), expect);
    record.container = Some(Container::default().into());
    check(&record, true, &[("/container", Some(json!({})))]);
}

#[test]
fn pieces_of_plaintext() {
    check(
        &sample::data("GET /é".as_bytes()),
        false,
        &[
            ("/type", Some(json!("data"))),
            ("/network/io/direction", Some(json!("transmit"))),
            ("/offset", Some(json!(7))),
            ("/length", Some(json!(7))),
            ("/text", Some(json!("GET /é"))),
            ("/base64", None),
        ],
    );
    let cut = &"é".as_bytes()[..1];
    check(
        &sample::data(cut),
        false,
        &[("/text", None), ("/base64", Some(json!("ww=="))), ("/length", Some(json!(1)))],
    );
}

#[test]
fn gaps_with_every_reason() {
    let reasons = [
        GapReason::RingFull,
        GapReason::Fault,
        GapReason::Limit,
        GapReason::QueueFull,
        GapReason::Unknown,
    ];
    for wanted in reasons {
        let mut record = sample::gap();
        if let Content::Gap { reason, .. } = &mut record.message.content {
            *reason = wanted;
        }
        check(
            &record,
            false,
            &[
                ("/type", Some(json!("gap"))),
                ("/network/io/direction", Some(json!("receive"))),
                ("/offset", Some(json!(7))),
                ("/length", Some(json!(300))),
                ("/reason", Some(json!(wanted.as_str()))),
            ],
        );
    }
}

#[test]
fn opaque_connections() {
    let bytes = Some(json!({"transmit": 26, "receive": 3000}));
    check(
        &sample::opaque(),
        false,
        &[("/type", Some(json!("opaque"))), ("/bytes", bytes), ("/network/io", None)],
    );
}

#[test]
fn what_a_json_body_asks_for() {
    let mut record = sample::http();
    let mut asked = |body: &'static str, fields: &[(&str, Option<Value>)]| {
        let request = sample::exchange(&mut record).request.as_mut().unwrap();
        request.headers = [("content-type", &b"application/json"[..])].into_iter().collect();
        request.body.bytes = Bytes::from_static(body.as_bytes());
        check(&record, true, fields);
    };
    let rpc = json!({"system": "jsonrpc", "method": "add"});
    asked(r#"{"jsonrpc":"2.0","method":"add"}"#, &[("/rpc", Some(rpc)), ("/graphql", None)]);
    let operation = json!({"name": "Cats", "type": "query"});
    asked(
        r#"{"query":"query Cats { a }"}"#,
        &[("/rpc", None), ("/graphql/operation", Some(operation))],
    );
}

#[test]
fn websocket_messages() {
    let body = |text| Some(json!({"size": 3, "text": text}));
    check(
        &sample::websocket(Opcode::Text, b"hey"),
        true,
        &[
            ("/type", Some(json!("websocket"))),
            ("/kind", Some(json!("server"))),
            ("/network/io/direction", Some(json!("receive"))),
            ("/websocket/opcode", Some(json!("text"))),
            ("/websocket/frames", Some(json!(2))),
            ("/websocket/compressed", Some(json!(true))),
            ("/websocket/body", body("hey")),
            ("/websocket/close", None),
        ],
    );
    check(
        &sample::websocket(Opcode::Binary, b""),
        true,
        &[
            ("/websocket/body", Some(json!({"size": 3, "truncated": true}))),
            ("/websocket/unreadable", Some(json!("context-lost"))),
        ],
    );
    let close = json!({"code": 1001, "reason": "away \u{1b}[31m"});
    let closing = sample::websocket(Opcode::Close, b"abc");
    check(&closing, false, &[("/websocket/close", Some(close)), ("/websocket/body/text", None)]);
}

#[test]
fn events_of_a_server() {
    let event = sample::event(b"hey");
    check(
        &event,
        true,
        &[
            ("/type", Some(json!("sse"))),
            ("/kind", Some(json!("client"))),
            ("/network/io/direction", Some(json!("receive"))),
            ("/sse/event", Some(json!("add \u{1b}[31m"))),
            ("/sse/id", Some(json!("7"))),
            ("/sse/body", Some(json!({"size": 30, "truncated": true, "text": "hey"}))),
            ("/http/stream/id", Some(json!(5))),
            ("/url/full", Some(json!("https://web/a?b=1"))),
        ],
    );
    check(
        &event,
        false,
        &[
            ("/sse", Some(json!({"body": {"size": 30, "truncated": true}}))),
            ("/url/path", Some(json!("/a"))),
        ],
    );
}

#[test]
fn operations_by_the_kind_of_their_system() {
    let of = |part: &str, system: System, target: &str| {
        check(
            &sample::operation(system),
            false,
            &[
                ("/type", Some(json!(system.as_str()))),
                ("/kind", Some(json!("client"))),
                ("/duration_ns", Some(json!(2_000_000))),
                (&format!("/{part}/request/size"), Some(json!(40))),
                (&format!("/{part}/response/returned_rows"), Some(json!(3))),
                (&format!("/{part}/response/message"), Some(json!("SELECT 3"))),
                (target, (!target.ends_with("none")).then(|| json!("cats"))),
                ("/error", None),
            ],
        );
        check(
            &sample::failure(system),
            false,
            &[
                ("/kind", Some(json!("server"))),
                (&format!("/{part}/truncated"), Some(json!(true))),
                (&format!("/{part}/response/status_code"), Some(json!("42P01"))),
                (&format!("/{part}/response/message"), None),
                ("/error/type", Some(json!("42P01"))),
                ("/error/message", Some(json!("no table \u{1b}[31m"))),
            ],
        );
    };
    for system in [System::Postgresql, System::Mysql, System::Redis, System::Mongodb] {
        of("db", system, "/db/collection/name");
        let parameters = Some(json!({"0": "7", "1": null}));
        let namespace = Some(json!("shop"));
        let fields = [("/db/query/parameter", parameters), ("/db/namespace", namespace)];
        check(&sample::operation(system), false, &fields);
    }
    for system in [System::Kafka, System::Amqp, System::Mqtt] {
        of("messaging", system, "/messaging/destination/name");
    }
    for system in [System::Smtp, System::Imap] {
        of("mail", system, "/mail/none");
    }
}

#[test]
fn what_only_messages_have() {
    check(
        &sample::delivery(),
        false,
        &[
            ("/type", Some(json!("mqtt"))),
            ("/kind", Some(json!("client"))),
            (
                "/messaging",
                Some(json!({
                    "system": "mqtt",
                    "operation": {"name": "PUBLISH", "type": "receive"},
                    "destination": {"name": "cats/\u{1b}"},
                    "client": {"id": "c"},
                    "consumer": {"group": {"name": "g"}},
                    "message": {"body": {"size": 30}},
                    "mqtt": {"qos": 1, "packet_id": 3},
                    "amqp": {"channel": 1},
                    "rabbitmq": {
                        "destination": {"routing_key": "k\u{1b}"},
                        "message": {"delivery_tag": 2},
                    },
                    "kafka": {"api_version": 4},
                    "request": {"size": 40},
                })),
            ),
            ("/error", None),
        ],
    );
}

#[test]
fn exchanges_of_http2_and_grpc() {
    let mut record = sample::http();
    let exchange = sample::exchange(&mut record);
    exchange.stream = Some(7);
    exchange.response.as_mut().unwrap().trailers =
        [("grpc-status", &b"5"[..])].into_iter().collect();
    exchange.error = Some("CANCEL".to_owned());
    if let Some(request) = &mut exchange.request {
        request.version = Version::Http2;
    }
    check(
        &record,
        false,
        &[
            ("/type", Some(json!("http"))),
            ("/http/version", Some(json!("2"))),
            ("/http/stream/id", Some(json!(7))),
            ("/http/response/trailer", Some(json!({"grpc-status": ["5"]}))),
            ("/error/type", Some(json!("CANCEL"))),
        ],
    );
    sample::exchange(&mut record).grpc = Some(Box::new(Grpc {
        service: Some("shop.Cart".to_owned()),
        method: Some("Add".to_owned()),
        status: Some(5),
        message: Some("not found".to_owned()),
        requests: Some(Messages { count: 1, size: 12, compressed: true }),
        sent: vec![sample::message()],
        ..Grpc::default()
    }));
    check(
        &record,
        false,
        &[
            ("/type", Some(json!("grpc"))),
            ("/rpc/system", Some(json!("grpc"))),
            ("/rpc/service", Some(json!("shop.Cart"))),
            ("/rpc/method", Some(json!("Add"))),
            ("/rpc/grpc/status_code", Some(json!(5))),
            ("/rpc/request/messages/count", Some(json!(1))),
            (
                "/rpc/request/messages/content",
                Some(json!([{"name": "tea", "parts": [{"2": ["AQ==", -1, 0.5, true]}]}])),
            ),
            ("/rpc/response", None),
        ],
    );
}

fn finding(status: Status) -> Finding {
    let record = sample::http();
    let library = sample::library(&record);
    let Record { process, container, .. } = record;
    let file = Some(FileKey::Inode { device: 0x1b, inode: 0x5e });
    Finding { process, container, library, status, file }
}

#[track_caller]
fn found(finding: Finding) -> Value {
    let mut out = Vec::new();
    finding::write(&[finding], &mut out).unwrap();
    read(&String::from_utf8(out).unwrap())
}

#[test]
fn a_library_that_is_hooked() {
    let later = Site { offset: 4, class: Class::Emulated };
    let probe = |symbol, method, site| Probe {
        symbol,
        function: Function::Read,
        offset: 0x3c0,
        method,
        site,
        places: Places::default(),
    };
    let probes = vec![
        probe("SSL_read", Method::Dynsym, Site::PLAIN),
        probe("SSL_write", Method::Symtab, later),
        probe("ssl_read_internal", Method::Callee, Site { offset: 0, ..later }),
    ];
    let expect = json!({
        "schema": "tlstap/v1",
        "type": "library",
        "process": {"pid": 41, "command": "curl", "executable": {"path": "/usr/bin/curl"}},
        "container": {
            "id": "0123456789abcdef".repeat(4),
            "name": "web",
            "runtime": "docker",
            "image": {"name": "web:1"},
        },
        "tls": {
            "library": "openssl",
            "version": "3.0.22",
            "path": "/usr/lib/x86_64-linux-gnu/libssl.so.3",
        },
        "status": "hooked",
        "probes": [
            {"symbol": "SSL_read", "method": "dynsym",
             "sites": [{"offset": 0, "file_offset": 0x3c0, "class": "stepped"}]},
            {"symbol": "SSL_write", "method": "symtab",
             "sites": [{"offset": 4, "file_offset": 0x3c4, "class": "emulated"}]},
            {"symbol": "ssl_read_internal", "method": "callee",
             "sites": [{"offset": 0, "file_offset": 0x3c0, "class": "emulated"}]},
        ],
        "file": {"key": "1b:5e"},
    });
    assert_eq!(found(finding(Status::Hooked(probes))), expect);
    for class in [Class::Emulated, Class::Stepped] {
        let documented = format!("| `{}` |", class.as_str());
        assert!(OUTPUT.contains(&documented), "{class:?} is not in docs/output.md");
    }
}

#[test]
fn libraries_skipped_for_every_reason() {
    let reasons = [
        Reason::Permission,
        Reason::Unreadable,
        Reason::Architecture,
        Reason::Stripped,
        Reason::UnsupportedLibrary,
        Reason::Java,
        Reason::Erlang,
        Reason::AttachFailed,
        Reason::Unsafe,
    ];
    for reason in reasons {
        let value = found(finding(Status::Skipped(reason)));
        assert_eq!(value["status"], "skipped");
        assert_eq!(value["reason"], reason.as_str());
        assert_eq!(value.get("probes"), None, "{value}");
        // A word for users to look up.
        let documented = format!("| `{reason}` |");
        assert!(OUTPUT.contains(&documented), "{reason} is not in docs/output.md");
    }
    let unseen = Finding {
        container: None,
        library: None,
        file: None,
        ..finding(Status::Skipped(Reason::Permission))
    };
    let expect = json!({
        "schema": "tlstap/v1",
        "type": "library",
        "process": {"pid": 41, "command": "curl", "executable": {"path": "/usr/bin/curl"}},
        "status": "skipped",
        "reason": "permission",
    });
    assert_eq!(found(unseen), expect);
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

#[test]
fn a_timestamp_has_nanoseconds() {
    assert_eq!(timestamp(0), "1970-01-01T00:00:00.000000000Z");
    assert_eq!(timestamp(-1), "1969-12-31T23:59:59.999999999Z");
    assert_eq!(timestamp(i64::MAX), "2262-04-11T23:47:16.854775807Z");
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
