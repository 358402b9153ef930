//! Every kind of message and exchange.

use super::*;
use crate::decode::Version;

#[test]
fn pairs_a_request_with_its_response() {
    check(&[get("/a"), ok("hello"), End], &["GET /a [0 ] > 200 [5 hello]"]);
    check(
        &[
            rx("POST /b HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc"),
            tx("HTTP/1.0 201 Created\r\nContent-Length: 0\r\n\r\n"),
            End,
        ],
        &["server POST /b [3 abc] > 201 [0 ]"],
    );
}

#[test]
fn keeps_heads_as_they_were_sent() {
    let events = [
        tx(b"PUT http://h/p?q=1 HTTP/1.0\r\nX-One: 1\r\nx-one:\t2 \r\nBin: \xff\r\n\r\n"),
        rx("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nSet-Cookie: a\r\n\r\n"),
    ];
    let messages = decode(&OPTIONS, &events);
    let Content::Http(exchange) = &messages[0].content else { panic!("{messages:?}") };
    let request = exchange.request.as_ref().unwrap();
    assert_eq!(
        (request.target.as_deref(), request.version),
        (Some("http://h/p?q=1"), Version::Http10)
    );
    let expect: [(&str, &[u8]); 3] = [("x-one", b"1"), ("x-one", b"2"), ("bin", b"\xff")];
    assert_eq!(request.headers.iter().collect::<Vec<_>>(), expect);
    let response = exchange.response.as_ref().unwrap();
    assert_eq!((response.status, response.version), (Some(404), Version::Http11));
    let expect: [(&str, &[u8]); 2] = [("content-length", b"0"), ("set-cookie", b"a")];
    assert_eq!(response.headers.iter().collect::<Vec<_>>(), expect);
}

/// RFC 9112, section 9.3: "HTTP/1.1 defaults to the use of "persistent connections", allowing
/// multiple requests and responses to be carried over a single connection."
#[test]
fn follows_a_connection_that_is_kept() {
    check(
        &[get("/a"), ok("1"), get("/b"), ok("2"), get("/c"), ok("3"), End],
        &["GET /a [0 ] > 200 [1 1]", "GET /b [0 ] > 200 [1 2]", "GET /c [0 ] > 200 [1 3]"],
    );
}

/// RFC 9112, section 9.3.2: a server "MUST send the corresponding responses in the same order that
/// the requests were received".
#[test]
fn pairs_pipelined_requests_in_order() {
    check(
        &[
            tx("GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n"),
            rx("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 404 No\r\nContent-Length: 0"),
            rx("\r\n\r\nHTTP/1.1 500 Oh\r\nContent-Length: 1\r\n\r\n3"),
        ],
        &["GET /a [0 ] > 200 [1 1]", "GET /b [0 ] > 404 [0 ]", "GET /c [0 ] > 500 [1 3]"],
    );
}

/// RFC 9112, section 7.1: "The chunked transfer coding wraps content in order to transfer it as a series of
/// chunks, each with its own size indicator, followed by an OPTIONAL trailer section".
#[test]
fn removes_the_chunked_coding() {
    check(
        &[
            tx("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
            rx("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
            rx("6;ext\r\n world\r\n0\r\nDigest: x\r\n\r\n"),
            get("/next"),
            ok(""),
        ],
        &["POST / [3 abc] > 200 [11 hello world]", "GET /next [0 ] > 200 [0 ]"],
    );
}

/// RFC 9112, section 6.3: "Otherwise, this is a response message without a declared message body
/// length, so the message body length is determined by the number of octets received prior to the
/// server closing the connection."
#[test]
fn the_end_of_the_connection_ends_a_body() {
    let events = [get("/"), rx("HTTP/1.0 200 OK\r\n\r\nhel"), rx("lo"), End];
    check_times(&events, &["GET / [0 ] > 200 [5 hello] @0 +25"]);
    // That the agent stopped says nothing of the body.
    let events = [get("/"), rx("HTTP/1.0 200 OK\r\n\r\nhel"), rx("lo"), Stop];
    check_times(&events, &["GET / [0 ] > 200 [5 hello~] @0"]);
}

/// RFC 9110, section 15.2: "A client MUST be able to parse one or more 1xx responses received prior
/// to a final response".
#[test]
fn passes_interim_responses() {
    check(
        &[
            tx("POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"),
            rx("HTTP/1.1 100 Continue\r\n\r\n"),
            tx("hi"),
            rx(
                "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            ),
        ],
        &["POST / [2 hi] > 200 [0 ]"],
    );
}

/// RFC 9110, section 15.2.2: 101 "indicates that the server understands and is willing to comply
/// with the client's request, via the Upgrade header field".
#[test]
fn an_upgrade_ends_http() {
    let ask = tx("GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
    let agree = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    check(
        &[ask.clone(), rx(agree), tx("\x01\x02"), rx("abc"), rx_gap(4), End],
        &["GET /ws [0 ] > 101 [0 ]", "gap Receive 4", "opaque 2 7"],
    );
    check(
        &[ask.clone(), rx(format!("{agree}abc")), End],
        &["GET /ws [0 ] > 101 [0 ]", "opaque 0 3"],
    );
    check(&[ask.clone(), rx(agree), End], &["GET /ws [0 ] > 101 [0 ]"]);
    // The new protocol's first bytes may be seen before the old one's last.
    check(
        &[ask.clone(), tx("\x01\x02"), rx(agree), tx("\x03"), End],
        &["GET /ws [0 ] > 101 [0 ]", "opaque 3 0"],
    );
    check(
        &[ask, ok("no"), get("/b"), ok("b")],
        &["GET /ws [0 ] > 200 [2 no]", "GET /b [0 ] > 200 [1 b]"],
    );
}

/// RFC 9112, section 6.3: "Any 2xx (Successful) response to a CONNECT request implies that the
/// connection will become a tunnel immediately after the empty line".
#[test]
fn a_connect_becomes_a_tunnel() {
    let ask = tx("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    check(
        &[
            ask.clone(),
            rx("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
            tx("GET "),
            rx("x"),
            End,
        ],
        &["CONNECT a:443 [0 ] > 200 [0 ]", "opaque 4 1"],
    );
    check(
        &[ask, rx("HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno"), get("/"), ok("")],
        &["CONNECT a:443 [0 ] > 407 [2 no]", "GET / [0 ] > 200 [0 ]"],
    );
}

/// RFC 9110, section 9.3.2: "the server MUST NOT send content in the response" to HEAD; section
/// 15.3.5 and 15.4.5: 204 and 304 are "terminated by the end of the header section".
#[test]
fn knows_responses_without_a_body() {
    check(
        &[
            tx("HEAD / HTTP/1.1\r\n\r\n"),
            rx("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"),
            get("/a"),
            rx("HTTP/1.1 204 No Content\r\n\r\n"),
            get("/b"),
            rx("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n"),
            tx("HEAD /c HTTP/1.1\r\n\r\n"),
            rx("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
            get("/d"),
            ok("d"),
        ],
        &[
            "HEAD / [0 ] > 200 [0 ]",
            "GET /a [0 ] > 204 [0 ]",
            "GET /b [0 ] > 304 [0 ]",
            "HEAD /c [0 ] > 200 [0 ]",
            "GET /d [0 ] > 200 [1 d]",
        ],
    );
}

/// RFC 9112, section 9.5: "A client sending a message body SHOULD monitor the network connection
/// for an error response while it is transmitting the request."
#[test]
fn a_response_may_come_before_the_request_ends() {
    let begin = tx("POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc");
    let refuse = rx("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno");
    check_times(
        &[begin.clone(), refuse.clone(), tx("def"), get("/b"), ok("b")],
        &["POST / [6 abcdef] > 413 [2 no] @0 +15", "GET /b [0 ] > 200 [1 b] @30 +15"],
    );
    check_times(&[begin, refuse, End], &["POST / [3 abc~] > 413 [2 no] @0 +15"]);
}

#[test]
fn hands_out_requests_that_are_not_answered() {
    check_times(&[get("/a"), End], &["GET /a [0 ] > - @0"]);
    check_times(&[get("/a"), Stop], &["GET /a [0 ] > - @0"]);
    check(&[get("/a"), rx("HTTP/1.1 20"), End], &["GET /a [0 ] > -"]);
    check(&[get("/a"), get("/b"), ok("a"), End], &["GET /a [0 ] > 200 [1 a]", "GET /b [0 ] > -"]);
    check_times(
        &[get("/a"), rx("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe"), End],
        &["GET /a [0 ] > 200 [2 he~] @0"],
    );
    check(
        &[tx("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab"), End],
        &["POST / [2 ab~] > -"],
    );
}

/// The agent may come to a connection at any time.
#[test]
fn joins_a_connection_in_its_middle() {
    check_times(
        &[rx("of some body"), get("/a"), ok("a"), End],
        &["GET /a [0 ] > 200 [1 a] @10 +15"],
    );
    check_times(
        &[tx("rest of an upload"), ok("unknown"), get("/a"), ok("a"), End],
        &["- > 200 [7 unknown] @10", "GET /a [0 ] > 200 [1 a] @20 +15"],
    );
    check(
        &[tx("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), rx("GET / HTTP/1.1\r\n\r\n"), End],
        &["server - > 200 [0 ]", "server GET / [0 ] > -"],
    );
    // The answer to a HEAD that was not seen.
    check(
        &[rx("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"), get("/a"), ok("a")],
        &["- > 200 [0 ]", "GET /a [0 ] > 200 [1 a]"],
    );
}

#[test]
fn counts_what_is_not_http() {
    check(&[End], &[]);
    check(&[tx("\x00\x01"), rx("abc"), tx("\x02"), End], &["opaque 3 3"]);
    check(&[tx("\x00\x01"), Stop], &["opaque 2 0"]);
    check(&[tx("GET"), End], &["opaque 3 0"]);
    check(&[tx("a"), tx_gap(4), End], &["gap Transmit 4", "opaque 5 0"]);
    // After so much else, what looks like HTTP is most likely none.
    let noise = [0_u8; 1 << 16];
    let mut events = vec![tx(noise); 17];
    events.extend([get("/a"), ok("a"), End]);
    check(&events, &["opaque 1114140 39"]);
}

#[test]
fn measures_from_the_first_byte_to_the_last() {
    check_times(
        &[
            tx("GET / HT"),
            tx("TP/1.1\r\n\r\n"),
            rx("HTTP/1.1 200 OK\r\n"),
            rx("Content-Length: 2\r\n\r\n"),
            rx("o"),
            rx("k"),
        ],
        &["GET / [0 ] > 200 [2 ok] @0 +55"],
    );
}

#[test]
fn keeps_bodies_as_told() {
    let shown = |options: &Options, body: &str| {
        let messages = decode(options, &[get("/"), ok(body)]);
        messages.iter().map(show).collect::<Vec<_>>().join("\n")
    };
    let none = Options { keep_bodies: false, body_limit: 100 };
    assert_eq!(shown(&none, "hello"), "GET / [0 ] > 200 [5 ]");
    let short = Options { keep_bodies: true, body_limit: 3 };
    assert_eq!(shown(&short, "hello"), "GET / [0 ] > 200 [5 hel~]");
}

/// RFC 9110, section 8.4: Content-Encoding lists the codings "in the order in which they were
/// applied"; RFC 9112, section 6.1, lets the transfer add its own.
/// Each with the bytes that complete it, before the response ends.
#[test]
fn tells_events_as_they_come() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
                Transfer-Encoding: chunked\r\n\r\n";
    let begin =
        [get("/events?a"), rx(head), rx("b\r\ndata: one\n\n\r\n"), rx("9\r\ndata: two\r\n")];
    let first = "event /events?a [3 one]";
    check(&begin, &[first]);
    let more = [
        &begin[..],
        &[rx("2\r\n\n\n\r\n9\r\ndata: cut\r\n0\r\n\r\n"), get("/b"), ok("data: x\n\n")],
    ]
    .concat();
    let second = "event /events?a [3 two]";
    let whole = "GET /events?a [0 ] > 200 [31 data: one\n\ndata: two\n\ndata: cut]";
    check(&more, &[first, second, whole, "GET /b [0 ] > 200 [9 data: x\n\n]"]);
    // A chunk whose end is lost hides what follows.
    let lost = [&begin[..], &[rx_gap(2000), rx("\n\ndata: x\n\n")]].concat();
    let shown = decode(&OPTIONS, &lost);
    assert_eq!(shown.iter().filter(|told| matches!(told.content, Content::Event(_))).count(), 1);
}

#[test]
fn removes_codings() {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(b"hello").unwrap();
    let gzip = encoder.finish().unwrap();
    let response = |fields: &str, body: &[u8]| {
        rx([format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n").as_bytes(), body].concat())
    };
    let length = gzip.len();
    let coded = format!("GET / [0 ] > 200 [{length} hello]");
    let fields = format!("Content-Encoding: gzip\r\nContent-Length: {length}");
    check(&[get("/"), response(&fields, &gzip)], &[&coded]);
    let body = [format!("{length:x}\r\n").as_bytes(), &gzip, b"\r\n0\r\n\r\n"].concat();
    check(&[get("/"), response("Transfer-Encoding: gzip, chunked", &body)], &[&coded]);
    let fields = "Content-Encoding: GZIP\r\nContent-Length: 3";
    check(&[get("/"), response(fields, b"abc")], &["GET / [0 ] > 200 [3 abc]"]);
}

/// The call that sends a request may return late, after another thread received the response.
#[test]
fn a_request_may_be_seen_after_its_response() {
    let late = |request: &str, events: usize| {
        Event::Late(Direction::Transmit, request.as_bytes().to_vec(), events)
    };
    let request = "GET /a HTTP/1.1\r\n\r\n";
    check_times(
        &[ok("a"), late(request, 1), get("/b"), ok("b")],
        &["GET /a [0 ] > 200 [1 a] @0 +5", "GET /b [0 ] > 200 [1 b] @20 +15"],
    );
    check(
        &[rx("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na"), late(request, 1), rx("b"), End],
        &["GET /a [0 ] > 200 [2 ab]"],
    );
    check(
        &[
            rx("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
            late("HEAD /a HTTP/1.1\r\n\r\n", 1),
            get("/b"),
            ok("b"),
        ],
        &["HEAD /a [0 ] > 200 [0 ]", "GET /b [0 ] > 200 [1 b]"],
    );
    // Behind a gap too, it must not be taken for a request that is still to be answered.
    check(
        &[get("/0"), rx_gap(9), ok("0"), ok("a"), late(request, 1), get("/b"), ok("b")],
        &[
            "gap Receive 9",
            "GET /0 [0 ] > -",
            "- > 200 [1 0]",
            "- > 200 [1 a]",
            "GET /a [0 ] > -",
            "GET /b [0 ] > 200 [1 b]",
        ],
    );
}

/// A connection that began like HTTP, and never was, is counted whole.
#[test]
fn counts_what_only_looked_like_http() {
    check(&[tx("GET / HTTP/1.1\r\nHost"), End], &["opaque 20 0"]);
    check(
        &[rx("x"), tx("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"), tx("y"), End],
        &["opaque 38 1"],
    );
    let endless = tx("a: b\r\n".repeat(50_000));
    check(&[tx("GET / HTTP/1.1\r\n"), endless, End], &["opaque 300016 0"]);
}
