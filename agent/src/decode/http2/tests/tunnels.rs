//! WebSocket on streams.

use super::*;

fn connect(stream: u32) -> Vec<u8> {
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":path", "/chat"),
        (":authority", "a"),
    ];
    frame(1, 4, stream, &literal(false, &fields))
}

/// What the client sends, under a mask that changes nothing, or the server.
fn message(text: &str, client: bool) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    let mut bytes = vec![0x81, if client { 0x80 | length } else { length }];
    bytes.extend(if client { &[0; 4][..] } else { &[] });
    bytes.extend(text.bytes());
    bytes
}

fn data(stream: u32, text: &str, client: bool) -> Vec<u8> {
    frame(0, 0, stream, &message(text, client))
}

fn shown(events: &[Event]) -> Vec<String> {
    let line = |message: &Message| match &message.content {
        Content::WebSocket(websocket) => {
            let text = String::from_utf8_lossy(&websocket.body.bytes);
            let stream = websocket.stream.unwrap();
            format!("{stream}: {:?} {} {text}", websocket.direction, websocket.body.size)
        }
        _ => show(message),
    };
    decode(events).iter().map(line).collect()
}

#[test]
fn messages_on_interleaved_streams() {
    let agreed = |stream| frame(1, 4, stream, &[0x88]);
    let long = data(3, "to be split", true);
    let (first, second) = long.split_at(20);
    let lines = shown(&[
        tx([begin(), connect(1), connect(3)].concat()),
        rx([settings(), agreed(1), agreed(3)].concat()),
        tx([data(1, "one", true), first.to_vec()].concat()),
        rx([data(3, "early", false), data(1, "eno", false)].concat()),
        tx([second.to_vec(), frame(0, 1, 1, b"")].concat()),
        rx(frame(0, 1, 1, b"")),
        Event::End,
    ]);
    assert_eq!(
        lines,
        [
            "1: Transmit 3 one",
            "3: Receive 5 early",
            "1: Receive 3 eno",
            "3: Transmit 11 to be split",
            "1: CONNECT a/chat [9 ] > 200 [5 ]",
            "3: CONNECT a/chat [17 ~] > 200 [7 ~]",
        ]
    );
}

#[test]
fn a_refused_one_has_a_body() {
    let refused = frame(1, 4, 1, &[0x8c]);
    let lines = shown(&[
        tx([begin(), connect(1), frame(0, 1, 1, b"")].concat()),
        rx([settings(), refused, frame(0, 1, 1, &message("no", false))].concat()),
    ]);
    assert_eq!(lines, ["1: CONNECT a/chat [0 ] > 400 [4 ]"]);
}

#[test]
fn what_is_lost_ends_a_message() {
    let lines = shown(&[
        tx([begin(), connect(1)].concat()),
        rx([settings(), frame(1, 4, 1, &[0x88])].concat()),
        tx(&data(1, "0123456789", true)[..18]),
        Event::Gap(Direction::Transmit, 5),
        tx("89"),
        tx(data(1, "next", true)),
        tx(data(1, "and on", true)),
        tx(data(1, "and on", true)),
        Event::End,
    ]);
    let expect = [
        "gap Transmit 5",
        "1: Transmit 10 012",
        "1: Transmit 4 next",
        "1: Transmit 6 and on",
        "1: Transmit 6 and on",
    ];
    assert_eq!(lines[..5], expect, "{lines:#?}");
}
