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
            "- > 200 [1 b]",
            "gap Transmit 30",
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
    let exchange = |n: u32| {
        let path = format!("/{n}");
        let body = n.to_string();
        let response = match n % 3 {
            0 => ok(&body),
            1 => rx(format!(
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{body}\r\n0\r\n\r\n"
            )),
            _ => rx(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nX: {}\r\n\r\n{body}",
                "y".repeat(40)
            )),
        };
        [get(&path), response]
    };
    let one_by_one: Vec<Event> = (1..=5).flat_map(exchange).collect();
    let [first, last] = [exchange(1), exchange(5)];
    let mut pipelined = first.to_vec();
    pipelined.extend((2..=4).map(|n| exchange(n)[0].clone()));
    pipelined.extend((2..=4).map(|n| exchange(n)[1].clone()));
    pipelined.extend(last);
    for events in [one_by_one, pipelined] {
        for from in 0..events.len() {
            for to in from..events.len() {
                for direction in Direction::BOTH {
                    check_pairs(&without(&events, direction, from..=to));
                }
            }
        }
    }
}

/// The events, with those of one direction lost and a gap where the next one of it was seen.
fn without(events: &[Event], at: Direction, range: std::ops::RangeInclusive<usize>) -> Vec<Event> {
    let mut lost = 0;
    let mut left = Vec::new();
    for (index, event) in events.iter().enumerate() {
        match event {
            Event::Data(direction, bytes) if *direction == at => {
                if range.contains(&index) {
                    lost += bytes.len() as u64;
                    continue;
                }
                if lost > 0 {
                    left.push(Event::Gap(at, std::mem::take(&mut lost)));
                }
            }
            _ => {}
        }
        left.push(event.clone());
    }
    left.push(End);
    left
}

/// Request `/n` has a response with body `n`, or none.
fn check_pairs(events: &[Event]) {
    for message in decode(&OPTIONS, events) {
        let Content::Http(exchange) = message.content else {
            continue;
        };
        let (Some(request), Some(response)) = (exchange.request, exchange.response) else {
            continue;
        };
        let body = String::from_utf8(response.body.bytes.to_vec()).unwrap();
        assert_eq!(request.target, format!("/{body}"), "{events:?}");
    }
}
