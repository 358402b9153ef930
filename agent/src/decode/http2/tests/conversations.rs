//! What is seen, from the beginning, joined late, and with losses.

use super::*;

/// Interleaved streams, padding, CONTINUATION, an unknown type, trailers, a promise, resets.
fn conversation() -> Vec<Event> {
    let mut block = vec![0x83, 0x87];
    block.extend(literal(true, &[(":path", "/p"), ("x-long", "value")]));
    let (head, tail) = block.split_at(5);
    let mut padded = vec![3];
    padded.extend([0, 0, 0, 0, 9]);
    padded.extend(head);
    padded.extend([0; 3]);
    let post = [
        frame(1, 0x28, 3, &padded),
        frame(9, 4, 3, tail),
        frame(0xbe, 0xff, 3, b"what"),
        frame(0, 0x8, 3, &[2, b'h', b'i', 0, 0]),
        frame(8, 0, 0, &[0, 0, 1, 0]),
        frame(0, 1, 3, b"!"),
    ]
    .concat();
    let mut promise = vec![0, 0, 0, 2];
    promise.extend([0x82, 0x87]);
    promise.extend(literal(false, &[(":path", "/pushed"), (":authority", "a")]));
    let answers = [
        settings(),
        frame(4, 1, 0, &[]),
        frame(1, 4, 3, &literal(false, &[(":status", "103")])),
        frame(1, 4, 1, &[0x88]),
        frame(5, 4, 1, &promise),
        frame(1, 4, 3, &[0x88]),
        frame(0, 0, 1, b"he"),
        frame(0, 0, 3, b"made"),
        frame(0, 1, 1, b"llo"),
        frame(1, 5, 3, &literal(true, &[("x-sum", "1")])),
        frame(1, 5, 2, &[0x8d]),
        frame(3, 0, 5, &[0, 0, 0, 7]),
        frame(7, 0, 0, &[0, 0, 0, 5, 0, 0, 0, 0]),
    ]
    .concat();
    vec![
        tx(begin()),
        tx([get(1, "/a"), post, again(5)].concat()),
        tx(again(7)),
        rx(answers),
        Event::End,
    ]
}

const CONVERSATION: [&str; 5] = [
    "1: GET a/a [0 ] > 200 [5 hello]",
    "3: POST /p x-long=value [3 hi!] > 200 [4 made] x-sum=1",
    "2: GET a/pushed [0 ] > 404 [0 ]",
    "5: GET /p x-long=value [0 ] > - !REFUSED_STREAM",
    "7: GET /p x-long=value [0 ] > - !GOAWAY",
];

#[test]
fn everything_at_once() {
    check(&conversation(), &CONVERSATION);
}

#[test]
fn splitting_anywhere_changes_nothing() {
    let events = conversation();
    for (index, event) in events.iter().enumerate() {
        let Event::Data(direction, bytes) = event else { continue };
        for at in 1..bytes.len() {
            let (head, tail) = bytes.split_at(at);
            let halves = [head, tail].map(|half| Event::Data(*direction, half.to_vec()));
            let mut split = events.clone();
            split.splice(index..=index, halves);
            check(&split, &CONVERSATION);
        }
    }
    for size in 1..40 {
        let split: Vec<Event> = events.iter().flat_map(|event| pieces(event, size)).collect();
        check(&split, &CONVERSATION);
    }
}

pub(super) fn pieces(event: &Event, size: usize) -> Vec<Event> {
    match event {
        Event::Data(direction, bytes) => {
            bytes.chunks(size).map(|piece| Event::Data(*direction, piece.to_vec())).collect()
        }
        other => vec![other.clone()],
    }
}

#[test]
fn a_server_is_told_from_a_client() {
    check(
        &[rx([begin(), get(1, "/a")].concat()), tx([settings(), ok(1, "x")].concat())],
        &["server 1: GET a/a [0 ] > 200 [1 x]"],
    );
    // Joined behind the preface, the response first.
    check(
        &[tx(ok(1, "old")), rx(get(3, "/a")), tx(ok(3, "x")), Event::End],
        &["server 1: - > 200 [3 old]", "server 3: GET a/a [0 ] > 200 [1 x]"],
    );
}

#[test]
fn the_past_of_a_joined_connection_is_unknown() {
    check(
        &[
            tx(again(101)),
            rx(ok(101, "x")),
            tx(get(103, "/b")),
            rx(ok(103, "y")),
            tx(again(105)),
            rx(ok(105, "z")),
        ],
        &[
            "101: GET ? +2 [0 ] > 200 [1 x]",
            "103: GET a/b [0 ] > 200 [1 y]",
            "105: GET a/b [0 ] > 200 [1 z]",
        ],
    );
}

#[test]
fn what_is_lost_is_never_guessed() {
    // Part of a body.
    check(
        &[
            tx([begin(), get(1, "/a")].concat()),
            rx([settings(), frame(1, 4, 1, &[0x88]), frame(0, 1, 1, b"hello")[..11].to_vec()]
                .concat()),
            Event::Gap(Direction::Receive, 2),
            rx("o"),
            tx(again(3)),
            rx(ok(3, "y")),
        ],
        &["gap Receive 2", "1: GET a/a [0 ] > 200 [5 he~]", "3: GET a/a [0 ] > 200 [1 y]"],
    );
    // A header block: what refers to it, and may, is unknown.
    check(
        &[
            tx([begin(), get(1, "/a")].concat()),
            rx([settings(), ok(1, "x")].concat()),
            Event::Gap(Direction::Transmit, 30),
            rx(ok(3, "lost")),
            tx(again(5)),
            rx(ok(5, "y")),
            Event::End,
        ],
        &[
            "1: GET a/a [0 ] > 200 [1 x]",
            "gap Transmit 30",
            "3: - > 200 [4 lost]",
            "5: GET ? +2 [0 ] > 200 [1 y]",
        ],
    );
}

#[test]
fn counts_what_is_not_http() {
    check(&[tx(PREFACE), Event::End], &["opaque 24 0"]);
    check(&[tx("PRI * HTTP/2.0\r\n\r\nXX"), rx("abc"), Event::End], &["opaque 20 3"]);
    check(&[tx(settings()), tx("garbage that goes on and on"), Event::End], &["opaque 42 0"]);
    check(&[tx([0; 100]), Event::End], &["opaque 100 0"]);
    // Known until something is malformed: DATA on stream 0.
    check(
        &[
            tx([begin(), get(1, "/a")].concat()),
            rx([settings(), ok(1, "x"), frame(0, 0, 0, b"x")].concat()),
            Event::End,
        ],
        &["1: GET a/a [0 ] > 200 [1 x]", "opaque 0 10"],
    );
}

#[test]
fn an_extended_connect_without_websocket_is_counted() {
    let connect = literal(
        false,
        &[
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":path", "/chat"),
            (":authority", "a"),
        ],
    );
    check(
        &[
            tx([begin(), frame(1, 4, 1, &connect)].concat()),
            rx([settings(), frame(1, 4, 1, &[0x88])].concat()),
            tx(frame(0, 0, 1, b"frames")),
            rx(frame(0, 1, 1, b"more")),
            tx(frame(0, 1, 1, b"")),
        ],
        &["1: CONNECT a/chat [6 ] > 200 [4 ]"],
    );
}

/// Of two streams at once, before either ends.
#[test]
fn events_as_they_come() {
    let head = [&[0x88][..], &literal(false, &[("content-type", "text/event-stream")])].concat();
    let told = decode(&[
        tx([begin(), get(1, "/a"), again(3)].concat()),
        rx([settings(), frame(1, 4, 1, &head), frame(1, 4, 3, &head)].concat()),
        rx([frame(0, 0, 1, b"data: on"), frame(0, 0, 3, b"data: three\n\n")].concat()),
        rx(frame(0, 0, 1, b"e\n\n")),
    ]);
    let events: Vec<_> = told
        .iter()
        .map(|message| match &message.content {
            Content::Event(event) => (
                event.stream,
                event.request.as_ref().and_then(|request| request.target.as_deref()),
                body(&event.body),
            ),
            other => panic!("{other:?}"),
        })
        .collect();
    let event = |stream, data: &str| (Some(stream), Some("/a"), data.to_owned());
    assert_eq!(events, [event(3, "[5 three]"), event(1, "[3 one]")]);
}

#[test]
fn calls_of_grpc() {
    let head = literal(false, &[(":path", "/shop.Cart/Add"), ("content-type", "application/grpc")]);
    let request = [&[0x83, 0x87], &head[..]].concat();
    let reply =
        [&[0x88], &literal(false, &[("content-type", "application/grpc+proto")])[..]].concat();
    let trailers = literal(false, &[("grpc-status", "5"), ("grpc-message", "no%20cart")]);
    let messages = [0, 0, 0, 0, 2, 1, 2, 1, 0, 0, 0, 1, 9];
    let found = decode(&[
        tx([begin(), frame(1, 4, 1, &request), frame(0, 1, 1, &messages)].concat()),
        rx([settings(), frame(1, 4, 1, &reply), frame(0, 0, 1, &messages[..6])].concat()),
        rx([frame(0, 0, 1, &messages[6..7]), frame(1, 5, 1, &trailers)].concat()),
    ]);
    let [Message { content: Content::Http(exchange), .. }] = &found[..] else {
        panic!("{found:?}")
    };
    let grpc = exchange.grpc.as_deref().unwrap();
    assert_eq!(grpc.service.as_deref(), Some("shop.Cart"));
    assert_eq!(grpc.method.as_deref(), Some("Add"));
    assert_eq!((grpc.status, grpc.message.as_deref()), (Some(5), Some("no cart")));
    let count = |messages: Option<crate::decode::Messages>| {
        messages.map(|messages| (messages.count, messages.size, messages.compressed))
    };
    assert_eq!(count(grpc.requests), Some((2, 3, true)));
    assert_eq!(count(grpc.responses), Some((1, 2, false)));
}
