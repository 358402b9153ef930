//! Packets of both sides as bytes in, operations out.

use crate::decode::{
    Purpose,
    trial::{self, Event, Random, check, decode, operations, rx, tx},
};

/// A packet: its first byte, and what follows the length.
fn packet(first: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    [packet, body.to_vec()].concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

fn id(id: u16) -> Vec<u8> {
    id.to_be_bytes().to_vec()
}

fn join(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

/// User name and password, and no will.
fn connect(level: u8, client: &str) -> Event {
    let properties = if level == 5 { vec![0] } else { vec![] };
    let head = vec![0, 4, b'M', b'Q', b'T', b'T', level, 0xc2, 0, 60];
    tx(packet(0x10, join(&[head, properties, text(client), text("joe"), text("hunter2")])))
}

fn publish(first: u8, number: u16, topic: &str, behind: &[u8]) -> Vec<u8> {
    let number = if first & 6 > 0 { id(number) } else { vec![] };
    packet(first, join(&[text(topic), number, behind.to_vec()]))
}

#[test]
fn version_3_1_1() {
    let subscribe = join(&[id(1), text("a/#"), vec![1], text("b"), vec![0]]);
    let events = [
        connect(4, "cat-1"),
        rx(packet(0x20, [0, 0])),
        tx(packet(0x82, subscribe)),
        rx(packet(0x90, [0, 1, 1, 0x80])),
        tx(publish(0x30, 0, "a/b", b"hello")),
        tx(publish(0x32, 2, "a/c", b"")),
        tx(publish(0x34, 3, "a/d", b"12")),
        rx(packet(0x50, id(3))),
        rx(packet(0x40, id(2))),
        tx(packet(0x62, id(3))),
        rx([packet(0x70, id(3)), publish(0x33, 2, "a/e", b"xyz")].concat()),
        tx([packet(0x40, id(2)), packet(0xc0, [])].concat()),
        rx(packet(0xd0, [])),
        tx(packet(0xa2, join(&[id(4), text("b")]))),
        rx(packet(0xb0, id(4))),
        tx(packet(0xe0, [])),
    ];
    check(
        &events,
        &[
            "CONNECT [CONNECT version=3.1.1 keepalive=60 client=cat-1 user=present] ()",
            "SUBSCRIBE [SUBSCRIBE a/# qos=1 b qos=0] !0x80(Unspecified error)",
            "PUBLISH of a/b ()",
            "PUBLISH of a/c ()",
            "PUBLISH of a/d ()",
            "PUBLISH of a/e ()",
            "UNSUBSCRIBE of b [UNSUBSCRIBE b] ()",
            "DISCONNECT ()",
        ],
    );
    let told = operations(&decode(&events));
    let said = told[4].messaging.clone().unwrap();
    assert_eq!((said.qos, said.packet_id, said.body_size), (Some(2), Some(3), Some(2)));
    assert_eq!((said.purpose, told[4].by_server), (Some(Purpose::Send), false));
    // Sent by the seventh call, answered by the eleventh.
    assert_eq!((told[4].request_size, told[4].response_size), (11, 8));
    assert_eq!(told[4].duration_ns, Some(45));
    let said = told[5].messaging.clone().unwrap();
    assert_eq!((said.purpose, told[5].by_server), (Some(Purpose::Receive), true));
    assert_eq!((told[5].request_size, told[5].response_size), (12, 4));
    assert_eq!(told[5].duration_ns, Some(10));
    assert!(!format!("{told:?}").contains("hunter2"));
}

#[test]
fn version_5() {
    let reason = |said: &str| {
        let properties = join(&[vec![0x1f], text(said)]);
        join(&[vec![u8::try_from(properties.len()).unwrap()], properties])
    };
    let assigned = join(&[vec![0x12], text("auto-7")]);
    let alias = |alias: u8| vec![3, 0x23, 0, alias];
    let subscribe = join(&[id(1), vec![0], text("a"), vec![1]]);
    let events = [
        connect(5, ""),
        rx(packet(0x20, join(&[vec![0, 0, 9], assigned]))),
        tx(packet(0x82, subscribe)),
        rx(packet(0x90, join(&[id(1), reason("no"), vec![0x87]]))),
        tx(publish(0x32, 2, "a/long/topic", &[alias(7), b"abc".to_vec()].concat())),
        rx(packet(0x40, join(&[id(2), vec![0x10]]))),
        tx(publish(0x32, 3, "", &[alias(7), b"abcd".to_vec()].concat())),
        rx(packet(0x40, join(&[id(3), vec![0x97], reason("too much")]))),
        tx(publish(0x30, 0, "", &alias(8))),
        // Of the other side it is another one.
        rx(publish(0x30, 0, "", &alias(7))),
        tx(publish(0x34, 4, "q", &[0])),
        rx(packet(0x50, join(&[id(4), vec![0x90]]))),
        tx(packet(0xa2, join(&[id(5), vec![0], text("a")]))),
        rx(packet(0xb0, join(&[id(5), vec![0, 0x11]]))),
        rx(packet(0xe0, [0x8b])),
    ];
    check(
        &events,
        &[
            "CONNECT [CONNECT version=5.0 keepalive=60 user=present] ()",
            "SUBSCRIBE of a [SUBSCRIBE a qos=1] !0x87(Not authorized: no)",
            "PUBLISH of a/long/topic 0x10(No matching subscribers)",
            "PUBLISH of a/long/topic !0x97(Quota exceeded: too much)",
            "PUBLISH ()",
            "PUBLISH ()",
            "PUBLISH of q !0x90(Topic Name invalid)",
            "UNSUBSCRIBE of a [UNSUBSCRIBE a] ()",
            "DISCONNECT !0x8b(Server shutting down)",
        ],
    );
    let told = operations(&decode(&events));
    let said = |at: usize| told[at].messaging.clone().unwrap();
    assert_eq!(said(0).client.as_deref(), Some("auto-7"));
    assert_eq!(
        (said(2).body_size, said(3).body_size, said(4).body_size),
        (Some(3), Some(4), Some(0))
    );
}

#[test]
fn a_connection_is_refused() {
    check(
        &[connect(4, "a"), rx(packet(0x20, [0, 5]))],
        &[
            "CONNECT [CONNECT version=3.1.1 keepalive=60 client=a user=present] !0x05(not authorized)",
        ],
    );
    check(
        &[connect(5, "a"), rx(packet(0x20, [0, 0x86, 0]))],
        &["CONNECT [CONNECT version=5.0 keepalive=60 client=a user=present] \
           !0x86(Bad User Name or Password)"],
    );
}

/// Joined in its middle, the first packet that only one side sends tells which is the client; what
/// was sent before it is told too.
#[test]
fn joined_in_the_middle() {
    check(
        &[
            rx(publish(0x32, 9, "a", b"1")),
            tx(packet(0x40, id(9))),
            rx(publish(0x32, 10, "b", b"1")),
            rx(packet(0xd0, [])),
            tx(packet(0x40, id(10))),
            tx(packet(0xc0, [])),
            rx(publish(0x32, 11, "c", b"1")),
            tx(packet(0x40, id(11))),
        ],
        &["PUBLISH of a -", "PUBLISH of b -", "PUBLISH of c ()"],
    );
    let subscribe = tx(packet(0x82, join(&[id(1), text("a/#"), vec![1]])));
    check(
        &[subscribe, rx(packet(0x90, [0, 1, 1])), rx(publish(0x30, 0, "a/b", b"")), tx(b"\xc0\0")],
        &["SUBSCRIBE of a/# [SUBSCRIBE a/# qos=1] -", "PUBLISH of a/b ()"],
    );
}

#[test]
fn other_protocols_are_not_claimed() {
    // LDAP, TLS inside TLS, an HTTP/1 chunk, MQTT 3.1 and 6, a lone ping.
    for bytes in [
        &b"0\x0c\x02\x01\x01`\x07\x02\x01\x03\x04\0\x80\0"[..],
        b"\x16\x03\x01\0\x05\x01\0\0\x01\0",
        b"10\r\n0123456789abcdef\r\n",
        b"\x10\x10\0\x06MQIsdp\x03\x02\0\x3c\0\x02ab",
        b"\x10\x0e\0\x04MQTT\x06\x02\0\x3c\0\x02ab",
        b"\xc0\0",
        b"0",
    ] {
        assert!(operations(&decode(&[tx(bytes), rx("+OK\r\n")])).is_empty(), "{bytes:?}");
    }
}

#[test]
fn what_is_malformed_ends_it() {
    let connected = [connect(4, "a"), rx(packet(0x20, [0, 0]))];
    for wrong in [
        packet(0x36, b"\0\x01a"),
        packet(0x30, b"\0\x02a+"),
        packet(0x30, b"\0\x09a"),
        packet(0x32, b"\0\x01a\0\0"),
        packet(0x80, b"\0\x01\0\x01a\0"),
        packet(0x82, b"\0\x01\0\x01a\x03"),
        vec![0x30, 0x80, 0x80, 0x80, 0x80, 1],
        vec![0x30, 0x83, 0],
        packet(0x20, [0, 0]),
    ] {
        let events = [&connected[..], &[tx(&wrong), tx(publish(0x30, 0, "b", b""))]].concat();
        let told = decode(&events);
        assert_eq!(operations(&told).len(), 1, "{wrong:?} {told:?}");
        assert!(trial::show(told.last().unwrap()).starts_with("opaque"), "{told:?}");
    }
}

/// Every packet has a topic of its own, of its length; the answer tells by its reason which it is of.
fn conversation(count: usize, random: &mut Random) -> Vec<Event> {
    let level: u8 = if random.below(2) == 0 { 4 } else { 5 };
    let extra = usize::from(level - 4);
    let mut events = vec![connect(level, "cat"), rx(packet(0x20, vec![0; 2 + extra]))];
    let properties = vec![0; extra];
    for number in 0..count {
        let packet_id = 1 + u16::try_from(number % 40).unwrap();
        let topic = format!("t/{number}");
        let payload = (0..random.below(40)).map(|_| u8::try_from(random.below(256)).unwrap());
        let payload: Vec<u8> = payload.collect();
        let behind = [properties.clone(), payload].concat();
        let answer = |first: u8| packet(first, id(packet_id));
        let asked = match random.below(5) {
            0 => {
                events.push(tx(publish(0x30, 0, &topic, &behind)));
                continue;
            }
            1 => {
                events.push(rx(publish(0x32, packet_id, &topic, &behind)));
                events.push(tx(answer(0x40)));
                continue;
            }
            2 => {
                let filter = join(&[id(packet_id), properties.clone(), text(&topic), vec![1]]);
                events.push(tx(packet(0x82, filter)));
                let codes = if number % 2 == 0 { 0x80 } else { 1 };
                let answer = join(&[id(packet_id), properties.clone(), vec![codes]]);
                events.push(rx(packet(0x90, answer)));
                continue;
            }
            3 => 0x32,
            _ => 0x34,
        };
        events.push(tx(publish(asked, packet_id, &topic, &behind)));
        if asked == 0x34 {
            events.push(rx(answer(0x50)));
            events.push(tx(answer(0x62)));
            events.push(rx(answer(0x70)));
        } else {
            events.push(rx(answer(0x40)));
        }
    }
    events
}

trial::tests!(conversation, 4000);
