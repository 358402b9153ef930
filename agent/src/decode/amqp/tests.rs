//! Frames of both sides as bytes in, operations out.

use super::frames::{END, HEADER};
use crate::decode::{
    Purpose,
    trial::{self, Event, Random, check, decode, operations, rx, tx},
};

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap();
    [&[kind][..], &channel.to_be_bytes(), &length.to_be_bytes(), payload, &[END]].concat()
}

fn method(channel: u16, (class, method): (u16, u16), arguments: &[&[u8]]) -> Vec<u8> {
    let id = [class.to_be_bytes(), method.to_be_bytes()].concat();
    frame(1, channel, &[&id[..], &arguments.concat()].concat())
}

fn short(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat()
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// The header of a message, and its body in frames of these sizes.
fn content(channel: u16, pieces: &[usize]) -> Vec<u8> {
    let size = pieces.iter().sum::<usize>() as u64;
    let head = [&[0, 60, 0, 0][..], &size.to_be_bytes(), &[0, 0]].concat();
    let mut frames = frame(2, channel, &head);
    for &piece in pieces {
        frames.extend(frame(3, channel, &vec![0xce; piece]));
    }
    frames
}

fn publish(channel: u16, exchange: &str, key: &str, pieces: &[usize]) -> Vec<u8> {
    let method = method(channel, (60, 40), &[&[0, 0], &short(exchange), &short(key), &[0]]);
    [method, content(channel, pieces)].concat()
}

fn deliver(channel: u16, tag: u64, exchange: &str, key: &str, pieces: &[usize]) -> Vec<u8> {
    let tag = tag.to_be_bytes();
    let arguments = [&short("ctag")[..], &tag, &[0], &short(exchange), &short(key)].concat();
    [method(channel, (60, 60), &[&arguments]), content(channel, pieces)].concat()
}

fn declare(channel: u16, queue: &str, bits: u8) -> Vec<u8> {
    method(channel, (50, 10), &[&[0, 0], &short(queue), &[bits], &long(b"")])
}

fn declared(channel: u16, queue: &str) -> Vec<u8> {
    method(channel, (50, 11), &[&short(queue), &[0; 8]])
}

fn close(channel: u16, code: u16, words: &str, (class, method_id): (u16, u16)) -> Vec<u8> {
    let id = if channel == 0 { (10, 50) } else { (20, 40) };
    let because = [class.to_be_bytes(), method_id.to_be_bytes()].concat();
    method(channel, id, &[&code.to_be_bytes(), &short(words), &because])
}

fn begin(mechanism: &str, response: &[u8]) -> Vec<Event> {
    let start = [&[0, 9][..], &long(b""), &long(b"PLAIN"), &long(b"en_US")].concat();
    let start_ok = [long(b""), short(mechanism), long(response), short("en_US")].concat();
    vec![
        tx(HEADER),
        rx(method(0, (10, 10), &[&start])),
        tx(method(0, (10, 11), &[&start_ok])),
        rx(method(0, (10, 30), &[&[0; 8]])),
        tx([method(0, (10, 31), &[&[0; 8]]), method(0, (10, 40), &[&short("/"), &[0, 0]])]
            .concat()),
        rx(method(0, (10, 41), &[&[0]])),
        tx(method(1, (20, 10), &[&[0]])),
        rx(method(1, (20, 11), &[&[0; 4]])),
    ]
}

const BEGUN: [&str; 3] = [
    "connection.start-ok [connection.start-ok mechanism=PLAIN user=joe] ()",
    "connection.open [connection.open vhost=/] ()",
    "channel.open ()",
];

#[test]
fn a_conversation() {
    let get = method(1, (60, 70), &[&[0, 0], &short("q"), &[0]]);
    let tag = 9_u64.to_be_bytes();
    let got = method(1, (60, 71), &[&tag, &[0], &short("logs"), &short("k"), &[0; 4]]);
    let mut events = begin("PLAIN", b"\0joe\0hunter2");
    events.extend([
        tx(declare(1, "", 0)),
        rx(declared(1, "amq.gen-1")),
        tx(method(
            1,
            (50, 20),
            &[&[0, 0], &short("q"), &short("logs"), &short("k"), &[0, 0, 0, 0, 0]],
        )),
        rx(method(1, (50, 21), &[])),
        tx(publish(1, "logs", "k", &[5, 7])),
        tx(publish(1, "", "q", &[])),
        rx(frame(8, 0, b"")),
        tx(&get),
        rx([got, content(1, &[3])].concat()),
        tx(&get),
        rx(method(1, (60, 72), &[&[0]])),
        tx(method(1, (60, 20), &[&[0, 0], &short("q"), &short(""), &[0], &long(b"")])),
        rx([method(1, (60, 21), &[&short("ctag")]), deliver(1, 10, "logs", "k", &[4])].concat()),
        tx(method(1, (60, 80), &[&10_u64.to_be_bytes(), &[0]])),
        tx(method(1, (50, 40), &[&[0, 0], &short("q"), &[0]])),
        rx(method(1, (50, 41), &[&[0, 0, 0, 2]])),
        tx(close(0, 200, "bye", (0, 0))),
        rx(method(0, (10, 51), &[])),
    ]);
    let expect = [
        &BEGUN[..],
        &[
            "queue.declare of amq.gen-1 ()",
            "queue.bind of q [queue.bind q exchange=logs] ()",
            "basic.publish of logs ()",
            "basic.publish of  ()",
            "basic.get of q () 1 returned",
            "basic.get of q () 0 returned",
            "basic.consume of q ()",
            "basic.deliver of logs ()",
            "queue.delete of q () 2 affected",
            "connection.close [connection.close 200 bye] ()",
        ],
    ]
    .concat();
    check(&events, &expect);
    let told = operations(&decode(&events));
    assert!(!format!("{told:?}").contains("hunter2"));
    let said = |at: usize| told[at].messaging.clone().unwrap();
    let published = said(5);
    assert_eq!((published.purpose, published.channel), (Some(Purpose::Send), Some(1)));
    assert_eq!((published.routing_key.as_deref(), published.body_size), (Some("k"), Some(12)));
    assert_eq!(told[5].request_size, publish(1, "logs", "k", &[5, 7]).len() as u64);
    assert_eq!(said(6).body_size, Some(0));
    assert_eq!((said(7).delivery_tag, said(7).body_size), (Some(9), Some(3)));
    assert_eq!(said(7).routing_key.as_deref(), Some("k"));
    let delivered = said(10);
    assert_eq!((delivered.purpose, told[10].by_server), (Some(Purpose::Receive), true));
    assert_eq!((delivered.delivery_tag, delivered.body_size), (Some(10), Some(4)));
}

#[test]
fn failures() {
    let refused = [
        begin("AMQPLAIN", b"\x05LOGINS\0\0\0\x03joe\x08PASSWORDS\0\0\0\x07hunter2")[..3].to_vec(),
        vec![rx(close(0, 403, "ACCESS_REFUSED", (0, 0))), tx(method(0, (10, 51), &[]))],
    ]
    .concat();
    check(
        &refused,
        &[
            "connection.start-ok [connection.start-ok mechanism=AMQPLAIN user=joe] !403(ACCESS_REFUSED)",
        ],
    );
    let returned =
        [&312_u16.to_be_bytes()[..], &short("NO_ROUTE"), &short("x"), &short("k")].concat();
    let events = [
        begin("PLAIN", b"\0joe\0hunter2"),
        vec![
            tx(publish(1, "x", "k", &[2])),
            rx([method(1, (60, 50), &[&returned]), content(1, &[2])].concat()),
            tx([declare(1, "no", 1), declare(1, "other", 0)].concat()),
            rx(close(1, 404, "NOT_FOUND", (50, 10))),
            tx(method(1, (20, 41), &[])),
            tx(publish(2, "none", "k", &[2])),
            rx(close(2, 404, "no exchange", (60, 40))),
            tx(declare(3, "quiet", 0x10)),
            rx(method(0, (10, 60), &[&short("low on memory")])),
        ],
    ]
    .concat();
    let expect = [
        &BEGUN[..],
        &[
            "basic.publish of x ()",
            "basic.return of x !312(NO_ROUTE)",
            "queue.declare of no !404(NOT_FOUND)",
            "queue.declare of other -",
            "basic.publish of none ()",
            "channel.close !404(no exchange)",
            "queue.declare of quiet ()",
            "connection.blocked [connection.blocked low on memory] ()",
        ],
    ]
    .concat();
    check(&events, &expect);
}

#[test]
fn joined_in_the_middle() {
    check(
        &[
            rx(&content(1, &[9])[22..]),
            rx(deliver(1, 2, "x", "k", &[4])),
            tx(method(1, (60, 80), &[&2_u64.to_be_bytes(), &[0]])),
            tx(declare(1, "q", 0)),
            rx(declared(1, "q")),
        ],
        &["basic.deliver of x ()", "queue.declare of q ()"],
    );
}

#[test]
fn other_protocols_are_not_claimed() {
    // AMQP 1.0, a frame with another end, an acknowledgement that both sides may send.
    let mut other_end = declare(1, "q", 0);
    *other_end.last_mut().unwrap() = 0;
    let ack = method(1, (60, 80), &[&2_u64.to_be_bytes(), &[0]]);
    for bytes in [&b"AMQP\0\x01\0\0"[..], &other_end, &ack] {
        assert!(operations(&decode(&[tx(bytes), rx("+OK\r\n")])).is_empty(), "{bytes:?}");
    }
}

#[test]
fn what_is_malformed_ends_it() {
    let mut other_end = declare(1, "q", 0);
    *other_end.last_mut().unwrap() = 0;
    for wrong in [
        other_end,
        declared(1, "q"),
        method(1, (99, 1), &[]),
        method(1, (60, 40), &[&[0, 0, 200]]),
        frame(4, 1, b"0123"),
        frame(8, 1, b""),
        [publish(1, "x", "k", &[2]), publish(1, "x", "k", &[1])[..27].to_vec(), content(1, &[])]
            .concat(),
        [publish(1, "x", "k", &[])[..27].to_vec(), frame(3, 1, b"x")].concat(),
    ] {
        let mut events = begin("PLAIN", b"\0joe\0hunter2");
        events.extend([tx(&wrong), tx(declare(1, "q", 0x10))]);
        let told = decode(&events);
        assert!(trial::show(told.last().unwrap()).starts_with("opaque"), "{wrong:?} {told:?}");
    }
}

/// Every method has a name of its own.
fn conversation(count: usize, random: &mut Random) -> Vec<Event> {
    let mut events = begin("PLAIN", b"\0joe\0hunter2");
    for number in 0..count {
        let channel = 1 + u16::try_from(random.below(3)).unwrap();
        let name = format!("n{number}");
        let pieces: Vec<usize> = (0..random.below(3)).map(|_| 1 + random.below(40)).collect();
        match random.below(4) {
            0 => events.push(tx(publish(channel, &name, "k", &pieces))),
            1 => events.push(rx(deliver(channel, number as u64, &name, "k", &pieces))),
            2 => {
                events.push(tx(method(channel, (60, 70), &[&[0, 0], &short(&name), &[0]])));
                let key = short(&name);
                let got = method(channel, (60, 71), &[&[0; 8], &[0], &short("x"), &key, &[0; 4]]);
                events.push(rx([got, content(channel, &pieces)].concat()));
            }
            _ => {
                events.push(tx(declare(channel, &name, 0)));
                events.push(rx(declared(channel, &name)));
            }
        }
    }
    events
}

trial::tests!(conversation, 4000);
