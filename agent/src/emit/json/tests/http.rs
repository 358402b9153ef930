//! Exchanges of HTTP and gRPC.

use super::*;

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
fn the_values_of_a_name_stand_together() {
    let names: Vec<String> = (0..150).map(|number| format!("x-{number}")).collect();
    let twice = names.iter().chain(names.iter().step_by(3));
    let mut record = sample::http();
    let request = sample::exchange(&mut record).request.as_mut().unwrap();
    request.headers = twice.map(|name| (name.as_str(), name.as_bytes())).collect();
    let expect = names.iter().enumerate().map(|(number, name)| {
        let values = vec![format!("\"{name}\""); if number % 3 == 0 { 2 } else { 1 }];
        format!("\"{name}\":[{}]", values.join(","))
    });
    let expect = format!("\"header\":{{{}}}", expect.collect::<Vec<_>>().join(","));
    let line = line(&record, false);
    assert!(line.contains(&expect), "{line}");
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
