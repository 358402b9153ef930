//! Requests and answers as bytes in, operations out.

use crate::decode::{
    Purpose,
    trial::{self, Event, Random, check, decode, operations, rx, tx},
};

fn sized(parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn compact(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len() + 1).unwrap()][..], text.as_bytes()].concat()
}

fn ask(key: u16, version: u16, number: usize, body: &[u8]) -> Event {
    let number = u32::try_from(number).unwrap();
    tx(sized(&[
        &key.to_be_bytes(),
        &version.to_be_bytes(),
        &number.to_be_bytes(),
        &text("cat"),
        body,
    ]))
}

fn answer(number: usize, body: &[u8]) -> Event {
    rx(sized(&[&u32::try_from(number).unwrap().to_be_bytes(), body]))
}

/// One topic with one partition, version 3.
fn produce(number: usize, acks: u8, topic: &str, records: &[u8]) -> Event {
    let head = [0xff, 0xff, 0, acks, 0, 0, 0, 9, 0, 0, 0, 1];
    let partition = [&[0, 0, 0, 1, 0, 0, 0, 0][..], &sized(&[records])].concat();
    ask(0, 3, number, &[&head[..], &text(topic), &partition].concat())
}

fn produced(number: usize, topic: &str, code: u8) -> Event {
    let partition = [&[0, 0, 0, 1, 0, 0, 0, 0, 0, code][..], &[0; 20]].concat();
    answer(number, &[&[0, 0, 0, 1][..], &text(topic), &partition].concat())
}

#[test]
fn classic_versions() {
    let metadata = [&[0, 0, 0, 2][..], &text("a"), &text("b")].concat();
    let broker =
        [&[0, 0, 0, 1, 0, 0, 0, 7][..], &text("host"), &[0, 0, 0x23, 0x84, 0xff, 0xff]].concat();
    let topic = [&[0, 3][..], &text("b"), &[0, 0, 0, 0, 0]].concat();
    let described = [&broker[..], &[0, 0, 0, 7, 0, 0, 0, 1], &topic].concat();
    let fetch =
        [&[0xff; 4][..], &[0; 8], &[0; 5], &[0, 0, 0, 1], &text("a"), &[0, 0, 0, 1], &[0; 16]]
            .concat();
    let part = [&[0, 0, 0, 0, 0, 1][..], &[0; 16], &[0xff; 4], &[0, 0, 0, 2, 9, 9]].concat();
    let fetched = [&[0; 4][..], &[0, 0, 0, 1], &text("a"), &[0, 0, 0, 1], &part].concat();
    let events = [
        ask(18, 0, 1, b""),
        answer(1, &[0, 0, 0, 0, 0, 0]),
        ask(3, 1, 2, &metadata),
        answer(2, &described),
        produce(3, 1, "orders", b"records"),
        ask(12, 1, 4, &[&text("g")[..], &[0; 4], &text("m")].concat()),
        produced(3, "orders", 0),
        answer(4, &[0, 0, 0, 0, 0, 27]),
        produce(5, 0, "quiet", b"records"),
        ask(1, 4, 6, &fetch),
        answer(6, &fetched),
        ask(2, 3, 7, b"whatever"),
        answer(7, b"whatever"),
        ask(17, 1, 8, &text("PLAIN")),
        answer(8, &[0, 0, 0, 0, 0, 0]),
        ask(36, 0, 9, &sized(&[b"\0joe\0hunter2"])),
        answer(9, &[&[0, 58][..], &text("hunter2"), &[0; 4]].concat()),
    ];
    check(
        &events,
        &[
            "ApiVersions ()",
            "Metadata [Metadata a b] !3(UNKNOWN_TOPIC_OR_PARTITION)",
            "Produce of orders ()",
            "Heartbeat !27(REBALANCE_IN_PROGRESS)",
            "Produce of quiet ()",
            "Fetch of a !1(OFFSET_OUT_OF_RANGE)",
            "ListOffsets () ~",
            "SaslHandshake ()",
            "SaslAuthenticate !58(SASL_AUTHENTICATION_FAILED)",
        ],
    );
    let told = operations(&decode(&events));
    assert!(!format!("{told:?}").contains("hunter2"));
    let said = told[3].messaging.clone().unwrap();
    assert_eq!((said.group.as_deref(), said.version), (Some("g"), Some(1)));
    assert_eq!(said.client.as_deref(), Some("cat"));
    assert_eq!(told[2].messaging.as_ref().unwrap().purpose, Some(Purpose::Send));
}

#[test]
fn flexible_versions() {
    let topics = [&[2][..], &[0; 16], &compact("a"), &[0, 1, 0, 0]].concat();
    let broker = [&[2, 0, 0, 0, 7][..], &compact("h"), &[0, 0, 0, 9, 0, 0]].concat();
    let partition = [&[0, 5][..], &[0; 12], &[2, 0, 0, 0, 1, 1, 1, 0]].concat();
    let topic =
        [&[2, 0, 0][..], &compact("a"), &[7; 16], &[0, 2], &partition, &[0; 4], &[0]].concat();
    let described = [&[0; 5][..], &broker, &[0], &[0; 4], &topic, &[0]].concat();
    let produce =
        [&[0, 0, 0xff, 0xff, 0, 0, 0, 9, 2][..], &compact("b"), &[2, 0, 0, 0, 0, 3, 1, 2, 0, 0, 0]]
            .concat();
    let told =
        [&[0, 2][..], &compact("b"), &[2], &[0, 0, 0, 0, 0, 0], &[0; 24], &[1, 0, 0, 0], &[0; 5]]
            .concat();
    let events = [
        ask(18, 3, 1, &[&[0][..], &compact("c"), &compact("1"), &[0]].concat()),
        answer(1, &[0, 35, 0, 0, 0, 0]),
        ask(3, 12, 2, &[&[0][..], &topics].concat()),
        answer(2, &described),
        ask(0, 9, 3, &produce),
        answer(3, &told),
        ask(13, 4, 4, &[&[0][..], &compact("group"), &[1, 0]].concat()),
        answer(4, &[0, 0, 0, 0, 0, 0, 25, 1, 0]),
        ask(3, 13, 5, &[&[0][..], &topics].concat()),
        answer(5, &described),
    ];
    check(
        &events,
        &[
            "ApiVersions !35(UNSUPPORTED_VERSION)",
            "Metadata of a !5(LEADER_NOT_AVAILABLE)",
            "Produce of b ()",
            "LeaveGroup !25(UNKNOWN_MEMBER_ID)",
            "Metadata () ~",
        ],
    );
}

#[test]
fn joined_in_the_middle() {
    check(
        &[
            rx(b"the end of an answer"),
            produce(7, 1, "a", b"x"),
            rx(b"more of it"),
            produced(7, "a", 0),
            produce(8, 1, "b", b"x"),
            produce(9, 1, "c", b"x"),
            Event::Gap(crate::capture::Direction::Receive, 40),
            produced(9, "c", 0),
        ],
        &["Produce of a ()", "gap Receive 40", "Produce of b -", "Produce of c ()"],
    );
}

#[test]
fn tokens_without_a_head_end_it() {
    let told = decode(&[
        ask(17, 0, 1, &text("PLAIN")),
        answer(1, &[0, 0, 0, 0, 0, 0]),
        tx(sized(&[b"\0joe\0hunter2"])),
    ]);
    assert!(!format!("{told:?}").contains("hunter2"));
    assert_eq!(trial::show(told.last().unwrap()), "opaque 16 0");
}

#[test]
fn other_protocols_are_not_claimed() {
    // An answer to a Produce request, which begins as one.
    let Event::Data(_, answer) = produced(3, "orders", 0) else { panic!("no data") };
    for bytes in [
        &answer[..],
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"\0\0\0\x14\0\x63\0\0\0\0\0\x01\0\x03cat",
        b"\0\0",
    ] {
        assert!(operations(&decode(&[tx(bytes), rx("+OK\r\n")])).is_empty(), "{bytes:?}");
    }
}

/// Every request has a topic of its own.
fn conversation(count: usize, random: &mut Random) -> Vec<Event> {
    let mut events = Vec::new();
    for number in 1..=count {
        let topic = format!("n{number}");
        let records = vec![0; random.below(60)];
        if random.below(3) == 0 {
            events.push(ask(12, 1, number, &[&text(&topic)[..], &[0; 4], &text("m")].concat()));
            events.push(answer(number, &[0, 0, 0, 0, 0, u8::try_from(random.below(3)).unwrap()]));
        } else {
            events.push(produce(number, 1, &topic, &records));
            events.push(produced(number, &topic, u8::try_from(random.below(3)).unwrap()));
        }
    }
    events
}

trial::tests!(conversation, 6000);
