//! A stream means the same however the calls that move it split it.

use super::*;

/// Conversations with every feature, whole messages as events.
fn corpus() -> Vec<Vec<Event>> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n1\r\n!\r\n0\r\nT: x\r\n\r\n";
    vec![
        vec![get("/a"), ok("hello"), get("/b"), rx(chunked), get("/c"), ok(""), End],
        vec![
            tx(
                "POST /p HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n\r\nGET /q HTTP/1.1\r\n\r\n",
            ),
            rx(
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Made\r\nContent-Length: 2\r\n\r\nokHTTP/1.0 200 OK\r\n\r\nto the end",
            ),
            End,
        ],
        vec![
            rx("HEAD / HTTP/1.1\r\n\r\nPUT /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"),
            tx("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 204 No\r\n\r\n"),
            End,
        ],
        vec![
            tx("GET /ws HTTP/1.1\r\nUpgrade: x\r\n\r\n"),
            rx("HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\nabc"),
            tx("defg"),
            End,
        ],
        vec![
            tx("CONNECT h:1 HTTP/1.1\r\n\r\n"),
            rx("HTTP/1.1 200 OK\r\n\r\n\x16\x03"),
            tx("\x16\x03\x01"),
            End,
        ],
        vec![tx("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00"), rx("\x00\x00\x00"), End],
        vec![get("/a"), ok("a"), tx("GET /b\r\n\r\n"), End],
        vec![
            get("/a"),
            rx("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"),
            End,
        ],
    ]
}

fn shown(events: &[Event]) -> Vec<String> {
    decode(&OPTIONS, events).iter().map(show).collect()
}

#[test]
fn the_corpus_is_understood() {
    let all: Vec<String> = corpus().iter().flat_map(|events| shown(events)).collect();
    let expect = [
        "GET /a [0 ] > 200 [5 hello]",
        "GET /b [0 ] > 200 [6 hello!]",
        "GET /c [0 ] > 200 [0 ]",
        "POST /p [2 hi] > 201 [2 ok]",
        "GET /q [0 ] > 200 [10 to the end]",
        "server HEAD / [0 ] > 200 [0 ]",
        "server PUT /x [3 abc] > 204 [0 ]",
        "GET /ws [0 ] > 101 [0 ]",
        "opaque 4 3",
        "CONNECT h:1 [0 ] > 200 [0 ]",
        "opaque 3 2",
        "opaque 26 3",
        "GET /a [0 ] > 200 [1 a]",
        "opaque 10 0",
        "GET /a [0 ] > 200 [1 a~]",
        "opaque 0 3",
    ];
    assert_eq!(all, expect);
}

#[test]
fn splitting_an_event_anywhere_changes_nothing() {
    for events in corpus() {
        let expect = shown(&events);
        for (index, event) in events.iter().enumerate() {
            let Event::Data(direction, bytes) = event else {
                continue;
            };
            for at in 1..bytes.len() {
                let (head, tail) = bytes.split_at(at);
                let halves = [head, tail].map(|half| Event::Data(*direction, half.to_vec()));
                let mut split = events.clone();
                split.splice(index..=index, halves);
                assert_eq!(shown(&split), expect, "{split:?}");
            }
        }
    }
}

#[test]
fn pieces_of_any_size_change_nothing() {
    for events in corpus() {
        let expect = shown(&events);
        for size in 1..40 {
            let split: Vec<Event> = events.iter().flat_map(|event| pieces(event, size)).collect();
            assert_eq!(shown(&split), expect, "{split:?}");
        }
    }
}

fn pieces(event: &Event, size: usize) -> Vec<Event> {
    match event {
        Event::Data(direction, bytes) => {
            bytes.chunks(size).map(|piece| Event::Data(*direction, piece.to_vec())).collect()
        }
        other => vec![other.clone()],
    }
}
