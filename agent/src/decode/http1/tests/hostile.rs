//! Input that is wrong on purpose: bounded, no panic, no garbage.

use super::*;
use crate::decode::trial::Random;

/// What is malformed makes the rest opaque; what was known before is handed out.
#[test]
fn malformed_messages_end_http() {
    check(
        &[get("/a"), get("/b"), ok("a"), rx("garbage\r\n"), get("/c"), End],
        &["GET /a [0 ] > 200 [1 a]", "GET /b [0 ] > -", "opaque 28 9"],
    );
    check(&[get("/a"), ok("a"), tx("{arbage"), End], &["GET /a [0 ] > 200 [1 a]", "opaque 7 0"]);
    check(
        &[get("/a"), rx("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nabc"), End],
        &["GET /a [0 ] > -", "opaque 0 41"],
    );
    check(
        &[get("/a"), ok("a"), tx("GET / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\nabc"), End],
        &["GET /a [0 ] > 200 [1 a]", "opaque 43 0"],
    );
}

/// RFC 9112, section 6.3: "If a message is received with both a Transfer-Encoding and a
/// Content-Length header field, the Transfer-Encoding overrides the Content-Length. Such a message
/// might indicate an attempt to perform request smuggling".
#[test]
fn both_lengths_mean_chunked() {
    let smuggle = "POST /a HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n\
                   1\r\nx\r\n0\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
    check(
        &[tx(smuggle), ok("a"), ok("b")],
        &["POST /a [1 x] > 200 [1 a]", "GET /b [0 ] > 200 [1 b]"],
    );
}

#[test]
fn a_body_that_looks_like_a_message_is_a_body() {
    let inner = "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n";
    check(
        &[
            get("/a"),
            rx("HTTP/1.1 200 OK\r\nContent-Length: 38\r\n\r\n"),
            rx(inner),
            get("/b"),
            ok("b"),
        ],
        &[&format!("GET /a [0 ] > 200 [38 {inner}]"), "GET /b [0 ] > 200 [1 b]"],
    );
}

#[test]
fn an_endless_head_is_given_up() {
    let endless = "a: b\r\n".repeat(50_000);
    let length = endless.len();
    check(
        &[get("/a"), ok("a"), tx("GET / HTTP/1.1\r\n"), tx(&endless), tx("more"), End],
        &["GET /a [0 ] > 200 [1 a]", &format!("opaque {} 0", length + 20)],
    );
    // In small pieces too, and without a start line's end.
    let mut events = vec![get("/a"), ok("a")];
    events.extend(std::iter::repeat_n(tx(format!("GET /{}", "x".repeat(995))), 1));
    events.extend(std::iter::repeat_n(tx("x".repeat(1000)), 99));
    events.push(End);
    check(&events, &["GET /a [0 ] > 200 [1 a]", "opaque 100000 0"]);
}

#[test]
fn chunk_sizes_that_overflow_are_refused() {
    let refused = [("1000000000000000", "0"), ("ffffffffffffffff", "ffff"), ("", "-1"), ("", "+1")];
    for (taken, rest) in refused {
        let body = format!("{taken}{rest}\r\nabc");
        check(
            &[
                get("/a"),
                rx(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}")),
                End,
            ],
            &["GET /a [0 ] > 200 [0 ~]", &format!("opaque 0 {}", rest.len() + 5)],
        );
    }
    check(
        &[
            get("/a"),
            rx("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc"),
            rx_gap(u64::from(u32::MAX)),
            End,
        ],
        &["gap Receive 4294967295", "GET /a [0 ] > 200 [4294967298 abc~]"],
    );
}

#[test]
fn requests_without_end_are_bounded() {
    let mut events = vec![get("/a"); 3000];
    events.push(ok("a"));
    let messages = decode(&OPTIONS, &events);
    let (last, requests) = messages.split_last().unwrap();
    assert_eq!(requests.len(), 3000);
    assert!(requests.iter().all(|message| show(message) == "GET /a [0 ] > -"));
    assert_eq!(show(last), "- > 200 [1 a]");
}

#[test]
fn heavy_requests_are_bounded() {
    let heavy = tx(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(200 << 10)));
    let messages = decode(&OPTIONS, &vec![heavy; 200]);
    assert!(messages.len() > 100, "{}", messages.len());
}

/// Changed bytes, lost stretches, other orders: anything may come, nothing panics, and every
/// request that is counted was there.
#[test]
fn noise_never_panics() {
    let words: [&[u8]; 16] = [
        b"GET / HTTP/1.1\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 101 Up\r\n",
        b"HTTP/1.1 100 Go\r\n\r\n",
        b"CONNECT a HTTP/1.0\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Upgrade: x\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"hello",
        b"\n",
        b"\xff\x00",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..20_000 {
        let events: Vec<Event> =
            (0..random.below(24)).map(|_| event(&mut random, &words)).collect();
        let requests = decode(&OPTIONS, &events).len();
        assert!(requests <= 8 * events.len() + 2, "{events:?}");
    }
}

fn event(random: &mut Random, words: &[&[u8]]) -> Event {
    let direction = Direction::BOTH[random.below(2)];
    match random.below(20) {
        0 => End,
        1 => Stop,
        2 => Event::Gap(direction, 1 + random.below(8) as u64),
        _ => {
            let count = 1 + random.below(4);
            let bytes =
                (0..count).flat_map(|_| words[random.below(words.len())].to_vec()).collect();
            Event::Data(direction, bytes)
        }
    }
}
