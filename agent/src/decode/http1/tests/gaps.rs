//! What lost bytes leave: bodies cut, exchanges unpaired, never a wrong pair.

use super::*;

#[test]
fn bytes_lost_within_a_body_of_known_length_cost_only_these() {
    check_times(
        &[
            get("/a"),
            rx("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"),
            rx_gap(4),
            rx("ghi"),
            get("/b"),
            ok("b"),
        ],
        &[
            "gap Receive 4 @20",
            "GET /a [0 ] > 200 [9 ab~] @0 +35",
            "GET /b [0 ] > 200 [1 b] @40 +15",
        ],
    );
    // The last byte was not seen: the time of it is not known.
    check_times(
        &[
            get("/a"),
            rx("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab"),
            rx_gap(7),
            get("/b"),
            ok("b"),
        ],
        &["gap Receive 7 @20", "GET /a [0 ] > 200 [9 ab~] @0", "GET /b [0 ] > 200 [1 b] @30 +15"],
    );
    check(
        &[
            tx("POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nab"),
            tx_gap(7),
            ok("a"),
            get("/b"),
            ok("b"),
        ],
        &["gap Transmit 7", "POST /a [9 ab~] > 200 [1 a]", "GET /b [0 ] > 200 [1 b]"],
    );
}

#[test]
fn bytes_lost_within_one_chunk_cost_only_these() {
    check(
        &[
            get("/a"),
            rx("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nab"),
            rx_gap(7),
            rx("\r\n1\r\nc\r\n0\r\n\r\n"),
            get("/b"),
            ok("b"),
        ],
        &["gap Receive 7", "GET /a [0 ] > 200 [10 ab~]", "GET /b [0 ] > 200 [1 b]"],
    );
}

#[test]
fn bytes_lost_before_the_close_cost_only_these() {
    check_times(
        &[get("/a"), rx("HTTP/1.1 200 OK\r\n\r\nab"), rx_gap(7), rx("c"), End],
        &["gap Receive 7 @20", "GET /a [0 ] > 200 [10 ab~] @0 +35"],
    );
    check_times(
        &[get("/a"), rx("HTTP/1.1 200 OK\r\n\r\nab"), rx_gap(7), End],
        &["gap Receive 7 @20", "GET /a [0 ] > 200 [9 ab~] @0"],
    );
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";

#[test]
fn chunks_lost_cut_the_response_only() {
    check(
        &[
            get("/a"),
            rx(CHUNKED),
            rx_gap(50),
            rx("f\r\n0\r\n\r\n"),
            get("/b"),
            ok("b"),
            get("/c"),
            ok("c"),
        ],
        &[
            "gap Receive 50",
            "GET /a [0 ] > 200 [2 ab~]",
            "GET /b [0 ] > 200 [1 b]",
            "GET /c [0 ] > 200 [1 c]",
        ],
    );
}

#[test]
fn chunks_lost_cut_the_request_only() {
    let request = "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n";
    check(
        &[
            tx(request),
            tx_gap(50),
            tx("f\r\n0\r\n\r\n"),
            ok("a"),
            get("/b"),
            ok("b"),
            get("/c"),
            ok("c"),
        ],
        &[
            "gap Transmit 50",
            "POST /a [2 ab~] > 200 [1 a]",
            // The gap may have held requests, and this may be the answer to one.
            "GET /b [0 ] > -",
            "- > 200 [1 b]",
            "GET /c [0 ] > 200 [1 c]",
        ],
    );
}

#[test]
fn a_lost_response_leaves_its_request_alone() {
    check(
        &[get("/a"), get("/b"), rx_gap(50), ok("b"), get("/c"), ok("c")],
        &[
            "gap Receive 50",
            "GET /a [0 ] > -",
            "GET /b [0 ] > -",
            "- > 200 [1 b]",
            "GET /c [0 ] > 200 [1 c]",
        ],
    );
    check(
        &[get("/a"), rx("HTTP/1.1 200 O"), rx_gap(50), get("/b"), ok("b"), get("/c"), ok("c")],
        &[
            "gap Receive 50",
            "GET /a [0 ] > -",
            "GET /b [0 ] > -",
            "- > 200 [1 b]",
            "GET /c [0 ] > 200 [1 c]",
        ],
    );
}

#[test]
fn a_lost_request_leaves_its_response_alone() {
    check(
        &[get("/a"), ok("a"), ok("b"), tx_gap(30), get("/c"), ok("c"), get("/d"), ok("d")],
        &[
            "GET /a [0 ] > 200 [1 a]",
            "gap Transmit 30",
            "- > 200 [1 b]",
            "GET /c [0 ] > -",
            "- > 200 [1 c]",
            "GET /d [0 ] > 200 [1 d]",
        ],
    );
}

#[test]
fn requests_before_the_gap_keep_their_responses() {
    check(
        &[get("/a"), get("/b"), tx_gap(30), get("/d"), ok("a"), ok("b"), ok("c"), ok("d")],
        &[
            "gap Transmit 30",
            "GET /d [0 ] > -",
            "GET /a [0 ] > 200 [1 a]",
            "GET /b [0 ] > 200 [1 b]",
            "- > 200 [1 c]",
            "- > 200 [1 d]",
        ],
    );
}

#[test]
fn after_a_gap_a_pipelining_client_is_never_paired_again() {
    check(
        &[
            get("/a"),
            get("/b"),
            ok("a"),
            tx_gap(30),
            get("/d"),
            ok("b"),
            ok("c"),
            get("/e"),
            ok("d"),
            get("/f"),
            ok("e"),
        ],
        &[
            "GET /a [0 ] > 200 [1 a]",
            "gap Transmit 30",
            "GET /d [0 ] > -",
            "GET /b [0 ] > 200 [1 b]",
            "- > 200 [1 c]",
            "GET /e [0 ] > -",
            "- > 200 [1 d]",
            "GET /f [0 ] > -",
            "- > 200 [1 e]",
        ],
    );
}

#[test]
fn drops_bytes_until_a_segment_begins_like_a_message() {
    check(
        &[
            get("/a"),
            rx(CHUNKED),
            rx_gap(5),
            rx("rest of it HTTP/1.1 200 OK\r\n\r\n"),
            rx("HTTP"),
            rx("/1.1 2"),
            rx("x\r\n\r\n"),
            get("/b"),
            rx("HTTP/1."),
            rx("1 200 OK\r\nContent-Length: 1\r\n\r\nb"),
        ],
        &["gap Receive 5", "GET /a [0 ] > 200 [2 ab~]", "GET /b [0 ] > 200 [1 b]"],
    );
}

/// Whatever single stretch of a busy connection is lost, no request gets another one's response.
#[test]
fn no_gap_makes_a_wrong_pair() {
    let mut pipelined = exchange(1).to_vec();
    pipelined.extend((2..=4).map(|n| exchange(n)[0].clone()));
    pipelined.extend((2..=4).map(|n| exchange(n)[1].clone()));
    pipelined.extend(exchange(5));
    for events in [one_by_one(5), pipelined] {
        for from in 0..events.len() {
            for to in from..events.len() {
                for at in Direction::BOTH {
                    let lost = |index, direction| direction == at && (from..=to).contains(&index);
                    check_pairs(&without(&events, lost));
                }
            }
        }
    }
}

/// Of a client that does not pipeline, any messages, or parts of them, may be lost.
#[test]
fn no_gaps_make_a_wrong_pair() {
    let parts = |events: Vec<Event>, from_end: usize| {
        let halves = |event| match event {
            Event::Data(direction, bytes) => {
                let (first, second) = bytes.split_at(bytes.len() - from_end);
                [first, second].map(|half| Event::Data(direction, half.to_vec())).to_vec()
            }
            other => vec![other],
        };
        events.into_iter().flat_map(halves).collect()
    };
    for events in [one_by_one(6), parts(one_by_one(3), 1), parts(one_by_one(3), 9)] {
        for mask in 0..1_u32 << events.len() {
            check_pairs(&without(&events, |index, _| mask >> index & 1 == 1));
        }
    }
}

fn one_by_one(count: u32) -> Vec<Event> {
    (1..=count).flat_map(exchange).collect()
}

/// A request for `/n` and a response that says `n`.
fn exchange(n: u32) -> [Event; 2] {
    let rest = match n % 3 {
        0 => "Content-Length: 1\r\n\r\n.".to_owned(),
        1 => "Transfer-Encoding: chunked\r\n\r\n1\r\n.\r\n0\r\n\r\n".to_owned(),
        _ => format!("X: {}\r\nContent-Length: 0\r\n\r\n", "y".repeat(40)),
    };
    [get(&format!("/{n}")), rx(format!("HTTP/1.1 200 OK\r\nN: /{n}\r\n{rest}"))]
}

/// The events, without the lost ones, and a gap where the next one of the direction was seen.
fn without(events: &[Event], lost: impl Fn(usize, Direction) -> bool) -> Vec<Event> {
    let mut lengths = [0; 2];
    let mut left = Vec::new();
    for (index, event) in events.iter().enumerate() {
        if let Event::Data(direction, bytes) = event {
            let length: &mut u64 = &mut lengths[direction.index()];
            if lost(index, *direction) {
                *length += bytes.len() as u64;
                continue;
            }
            if *length > 0 {
                left.push(Event::Gap(*direction, std::mem::take(length)));
            }
        }
        left.push(event.clone());
    }
    left.push(End);
    left
}

/// A response, if there is one, says its request's path.
#[track_caller]
fn check_pairs(events: &[Event]) {
    for message in decode(&OPTIONS, events) {
        let Content::Http(exchange) = message.content else {
            continue;
        };
        let (Some(request), Some(response)) = (exchange.request, exchange.response) else {
            continue;
        };
        let named = response.headers.first("n");
        assert_eq!(named.unwrap(), request.target.unwrap().as_bytes(), "{events:?}");
    }
}

/// What is left of a method is none: `AD` of `HEAD`, `PATCH` of `PROPPATCH`.
#[test]
fn the_end_of_a_method_is_no_request() {
    for left in ["AD", "PATCH", "LOCK", "X"] {
        let cut = tx(format!("{left} /a HTTP/1.1\r\nHost: a\r\n\r\n"));
        let events = [tx_gap(3), cut, get("/b"), ok("b"), End];
        // The response may be that of the request that was cut.
        check(&events, &["gap Transmit 3", "GET /b [0 ] > -", "- > 200 [1 b]"]);
    }
}

/// A response has no body when its request was HEAD, which is not known here.
#[test]
fn a_response_to_an_unknown_request_may_have_no_body() {
    let head = |length| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
    let next = "HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx";
    for length in [2, 50] {
        check(&[rx(head(length) + next), End], &["- > 200 [0 ]", "- > 404 [1 x]"]);
    }
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    check(&[rx(chunked.to_owned() + next), End], &["- > 200 [0 ]", "- > 404 [1 x]"]);
    check(&[rx(head(4) + "HTTP" + next), End], &["- > 200 [4 HTTP]", "- > 404 [1 x]"]);
    check(&[rx(head(4) + "HTML"), End], &["- > 200 [4 HTML]"]);
}

/// What a limit of the agent leaves of calls: see [`crate::limits`].
#[test]
fn the_beginning_of_each_call_is_enough_for_heads() {
    let post = format!("POST /a HTTP/1.1\r\nContent-Length: 5000\r\n\r\n{}", "b".repeat(5_000));
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n{}", "c".repeat(3_000));
    let [(sent, unsent), (received, missed)] =
        [&post, &answer].map(|text| (&text[..1_024], (text.len() - 1_024) as u64));
    check(
        &[tx(sent), tx_gap(unsent), rx(received), rx_gap(missed), get("/b"), ok("b")],
        &[
            &format!("gap Transmit {unsent}"),
            &format!("gap Receive {missed}"),
            &format!("POST /a [5000 {}~] > 200 [3000 {}~]", "b".repeat(100), "c".repeat(100)),
            "GET /b [0 ] > 200 [1 b]",
        ],
    );
}
