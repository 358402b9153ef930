//! Plaintext, gaps, and messages of connections that stay open.

use super::*;

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
